"""LS316: alphas that are thrown away before the factors are saved."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

PROGRAM = """
from safetensors.torch import load_file, save_file

def rename_lora(src, dst):
    tensors = load_file(src)
    for key in list(tensors):
        if key.endswith(".alpha"):
            {}
    save_file({}, dst)
"""
RENAMED = '{key.replace("lora_down", "lora_A"): tensor for key, tensor in tensors.items()}'


def codes(folder: Path, body: str, saved: str = RENAMED) -> list[str]:
    files = {"rename.py": PROGRAM.format(body, saved)}
    return [item.code for item in lint_files(folder, files, codes=["LS316"])]


@pytest.mark.parametrize("saved", [RENAMED, "tensors"])
@pytest.mark.parametrize("body", ["del tensors[key]", "tensors.pop(key)", "tensors.pop(key, None)"])
def test_found(body: str, saved: str, tmp_path: Path) -> None:
    assert codes(tmp_path, body, saved) == ["LS316"]


@pytest.mark.parametrize(
    "body",
    [
        "print(key)",
        "scale = tensors.pop(key).item()\n            fold(tensors, key, scale)",
        'tensors[key.replace(".alpha", ".lora_alpha")] = tensors[key]\n            del tensors[key]',
    ],
)
def test_silent(body: str, tmp_path: Path) -> None:
    assert codes(tmp_path, body) == []
