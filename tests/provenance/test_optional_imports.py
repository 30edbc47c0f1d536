"""A library that may be missing: what is done where it is there is seen, and what where it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

LAYER = """\
import torch

{top}


class LoRALinear:
    def __init__(self, base, r, alpha):
        self.scaling = alpha / r
        self.base = base
        self.lora_A = torch.nn.Linear(8, r)
        self.lora_B = torch.nn.Linear(r, 8)

    def forward(self, x):
        if {there}:
            return self.base(x) + self.lora_B(self.lora_A(x)){first}
        return self.base(x) + self.lora_B(self.lora_A(x)){second}
"""
IMPORT = "try:\n    import quant as bnb\nexcept ImportError:\n    bnb = None"
FROM = "try:\n    from quant import bnb\nexcept Exception:\n    bnb = None"
FLAG = "try:\n    import quant\n    HAS = True\nexcept ImportError:\n    HAS = False"


@pytest.mark.parametrize("wrong", ["first", "second"])
@pytest.mark.parametrize(
    ("top", "there"),
    [
        (IMPORT, "bnb is not None"),
        (FROM, "bnb is not None and isinstance(self.base, bnb.Linear)"),
        (FLAG, "HAS"),
    ],
)
def test_both_ways_are_followed(tmp_path: Path, top: str, there: str, wrong: str):
    scale = {"first": " * self.scaling", "second": " * self.scaling", wrong: ""}
    found = lint_files(tmp_path, {"lora_layer.py": LAYER.format(top=top, there=there, **scale)})
    assert len(found) == 1


@pytest.mark.parametrize("top", [IMPORT, FROM])
def test_both_ways_may_be_right(tmp_path: Path, top: str):
    scale = {"first": " * self.scaling", "second": " * self.scaling"}
    source = LAYER.format(top=top, there="bnb is not None", **scale)
    assert not lint_files(tmp_path, {"lora_layer.py": source})
