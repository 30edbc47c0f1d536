"""What a function does with files that it refuses to take is told of no file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

PACKER = """
from safetensors.torch import load_file, save_file

STATES = {states}


def normal(key):
    return key.replace(".lora_A.weight", ".lora.down.weight").replace(".lora_B.weight", ".lora.up.weight")


def pack(source, target):
    raw = load_file(source)
    tensors = {{}}
    for key, tensor in raw.items():
        tensors[normal(key)] = tensor.contiguous()
    {check}
    save_file(tensors, target)


def main(options):
    pack(options.source, options.target)


if __name__ == "__main__":
    main(parse())
"""
ODD = "[key for key in tensors if not key.endswith(('.down.weight', '.up.weight'))]"


@pytest.mark.parametrize(
    ("states", "check", "some"),
    [
        ("1", "pass", True),
        ("1", "if len(tensors) < STATES: raise ValueError(target)", True),
        ("1", "if target.exists(): raise ValueError(target)", True),
        ("144", "if len(tensors) != STATES: raise ValueError(target)", False),
        ("1", f"odd = {ODD}\n    if odd: raise ValueError(odd)", False),
        ("1", f"assert not {ODD}\n    if {ODD}: raise ValueError(target)", False),
    ],
)
def test_a_packer_that_takes_factors_alone(states: str, check: str, some: bool, tmp_path: Path) -> None:
    source = PACKER.format(states=states, check=check)
    assert bool(lint_files(tmp_path, {"pack_lora.py": source}, codes=["LS303"])) == some
