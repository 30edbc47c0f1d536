"""LS220: a strength that is set where nobody reads it, and setters that reach what multiplies."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

PARTS = """\
from torch import nn


class Times(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return x * self.factor


class LoraBranch(nn.Module):
    def __init__(self, linear, rank, alpha, multiplier=1.0):
        super().__init__()
        self.linear = linear
        self.lora_down = nn.Linear(linear.in_features, rank, bias=False)
        self.lora_up = nn.Linear(rank, linear.out_features, bias=False)
        self.scaling = alpha / rank
        self.multiplier = multiplier
        self.times = Times(multiplier)

    def forward(self, x):
        return self.linear(x) + self.times(self.lora_up(self.lora_down(x)) * self.scaling)
"""
DERIVED = """\
from torch import nn


class LoraBranch(nn.Module):
    def __init__(self, linear, rank, alpha, multiplier=1.0):
        super().__init__()
        self.linear = linear
        self.lora_down = nn.Linear(linear.in_features, rank, bias=False)
        self.lora_up = nn.Linear(rank, linear.out_features, bias=False)
        self.multiplier = multiplier
        self.scale = multiplier * alpha / rank

    def forward(self, x):
        return self.linear(x) + self.lora_up(self.lora_down(x)) * self.scale
"""
WRONG = {
    "a method": PARTS
    + """
    def set_multiplier(self, multiplier):
        self.multiplier = multiplier
""",
    "a function of the network": PARTS
    + """

class LoraNetwork:
    def __init__(self, branches: list):
        self.branches = branches

    def apply(self, strength):
        for branch in self.branches:
            if isinstance(branch, LoraBranch):
                branch.multiplier = strength
""",
    "multiplied into another field": DERIVED
    + """
    def set_multiplier(self, multiplier):
        self.multiplier = multiplier
""",
}
RIGHT = {
    "the copy is set too": PARTS
    + """
    def set_multiplier(self, multiplier):
        self.multiplier = multiplier
        self.times.factor = multiplier
""",
    "the part is made anew": PARTS
    + """
    def set_multiplier(self, multiplier):
        self.multiplier = multiplier
        self.times = Times(multiplier)
""",
    "somebody reads the field": PARTS
    + """
    def set_multiplier(self, multiplier):
        self.multiplier = multiplier

    def current(self):
        return self.multiplier
""",
    "the other field is computed again": DERIVED
    + """
    def set_multiplier(self, multiplier, alpha, rank):
        self.multiplier = multiplier
        self.scale = self.multiplier * alpha / rank
""",
}


@pytest.mark.parametrize("name", WRONG)
def test_found(name: str, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora_layer.py": WRONG[name]}, codes=["LS220"])
    assert [finding.code for finding in found] == ["LS220"]


@pytest.mark.parametrize("name", RIGHT)
def test_silent(name: str, tmp_path: Path) -> None:
    assert lint_files(tmp_path, {"lora_layer.py": RIGHT[name]}, codes=["LS220"]) == ()


def test_a_field_of_that_name_of_another_class_is_another_field(tmp_path: Path) -> None:
    other = (
        "class Norm:\n    def __init__(self, scale):\n        self.scale = scale\n\n    def norm(self, x):\n"
    )
    files = {
        "lora_layer.py": next(iter(WRONG.values())),
        "norm.py": f"{other}        return x * self.scale\n",
    }
    assert [finding.code for finding in lint_files(tmp_path, files, codes=["LS220"])] == ["LS220"]


LOADED = """\
from safetensors.torch import load_file
from torch import nn


class LoraBranch(nn.Module):
    def __init__(self, linear, rank=4, alpha=1.0):
        super().__init__()
        self.linear = linear
        self.alpha = alpha
        self.rank = rank
        self.scale = alpha / rank
        self.lora_down = nn.Linear(linear.in_features, rank, bias=False)
        self.lora_up = nn.Linear(rank, linear.out_features, bias=False)

    def forward(self, x):
        return self.linear(x) + self.lora_up(self.lora_down(x)) * {used}


class Network:
    def __init__(self, model, rank, alpha):
        self.branches = [LoraBranch(module, rank, alpha) for module in model.modules()]

    def load(self, path):
        tensors = load_file(path)
        for name, branch in enumerate(self.branches):
            branch.lora_down.weight.data.copy_(tensors[f"{{name}}.lora_down.weight"])
            branch.lora_up.weight.data.copy_(tensors[f"{{name}}.lora_up.weight"])
            alpha = tensors[f"{{name}}.alpha"].item()
            {loaded}
"""


@pytest.mark.parametrize(
    ("loaded", "used", "count"),
    [
        ("branch.alpha = alpha", "self.scale", 1),
        ('setattr(branch, "alpha", alpha)', "self.scale", 1),
        ("branch.alpha = alpha", "(self.alpha / self.rank)", 0),
        ("branch.alpha, branch.scale = alpha, alpha / 4", "self.scale", 0),
        ("branch.alpha = alpha\n            branch.scale = branch.alpha / branch.rank", "self.scale", 0),
    ],
)
def test_the_alpha_of_a_file_is_set_and_the_scale_stays(
    loaded: str, used: str, count: int, tmp_path: Path
) -> None:
    source = LOADED.format(loaded=loaded, used=used)
    assert len(lint_files(tmp_path, {"lora.py": source}, codes=["LS220"])) == count
