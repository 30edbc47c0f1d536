"""Code that speaks of no LoRA and takes too many steps is known by its name, and its caller is judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

DEPTH = 14
OPS = "import backend\n\n\n" + "".join(
    f"def step_{n}(x, y, mode):\n"
    f"    if mode == {n}:\n        return step_{n + 1}(x + 1, y, mode)\n"
    f"    return step_{n + 1}(y, step_{n + 1}(x, y, mode), mode)\n\n\n"
    for n in range(DEPTH)
)
OPS += f"""
def step_{DEPTH}(x, y, mode):
    return backend.run(x, y, mode)


def matmul(x, y, mode=None):
    return step_0(x, y, mode)


def prepared(x, y, mode=None):
    return step_0(x, y, mode)
"""
LAYER = """
import ops


class LoRALinear:
    def __init__(self, base, lora_A, lora_B, alpha, rank):
        self.base, self.lora_A, self.lora_B = base, lora_A, lora_B
        self.alpha, self.rank = alpha, rank

    def merged(self):
        ops.prepared(self.base.weight, self.lora_A)
        return self.base.weight + ops.matmul(self.lora_B, self.lora_A){scale}
"""


@pytest.mark.parametrize(
    ("scale", "codes"),
    [("", ["LS101"]), (" * (self.alpha / self.rank)", [])],
    ids=["bare", "scaled"],
)
def test_a_product_by_its_name(scale: str, codes: list[str], tmp_path: Path) -> None:
    files = {"ops.py": OPS, "lora_layer.py": LAYER.format(scale=scale)}
    found = lint_files(tmp_path, files)
    assert [finding.code for finding in found] == codes
