"""LS129: the flag by which a merge is undone is set."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

LAYER = """
class Proj(Base):
    def __init__(self, linear, down, up, alpha, rank):
        super().__init__()
        self.linear, self.lora_down, self.lora_up = linear, down, up
        self.scale = alpha / rank
        self.{flag} = False

    def fold(self):
        if self.{flag}:
            return
        self.linear.weight.data += (self.lora_up.weight @ self.lora_down.weight) * self.scale
        {mark}

    def unfold(self):
        if not self.{flag}:
            return
        self.linear.weight.data -= (self.lora_up.weight @ self.lora_down.weight) * self.scale
        self.{flag} = False
"""


def codes(folder: Path, source: str) -> list[str]:
    head = "import torch\n\n\nclass Base(torch.nn.Module):\n    pass\n\n"
    return [item.code for item in lint_files(folder, {"lora_layer.py": head + source}, codes=["LS129"])]


def test_a_merge_that_leaves_its_flag_off(tmp_path: Path):
    assert codes(tmp_path, LAYER.format(flag="folded", mark="pass")) == ["LS129"]


@pytest.mark.parametrize(
    "mark",
    [
        "self.folded = True",
        "setattr(self, 'folded', True)",
        "self._mark()\n\n    def _mark(self):\n        self.folded = True",
        "pass\n\n    def train(self, mode=True):\n        self.folded = not mode",
        "pass\n\n\ndef fold_all(model):\n    for layer in model.modules():\n        layer.fold()\n"
        "        layer.folded = True\n\n\nclass Other(Proj):\n    pass",
    ],
)
def test_a_flag_that_is_set_somewhere(tmp_path: Path, mark: str):
    source = LAYER.format(flag="folded", mark="pass")
    if "def fold_all" in mark:
        source += mark.removeprefix("pass")
    else:
        source = LAYER.format(flag="folded", mark=mark)
    assert codes(tmp_path, source) == []
