"""LS105: a strength on one path only, and paths that get it later."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

LAYER = """\
class LoRALinear:
    def __init__(self, base, lora_A, lora_B, alpha, rank, multiplier=1.0):
        self.base = base
        self.lora_A = lora_A
        self.lora_B = lora_B
        self.scale = alpha / rank
        self.multiplier = multiplier
        self.wd = False

    def forward(self, x):
        return self.base(x) + x @ self.lora_A.T @ self.lora_B.T * self.scale * self.multiplier

    def merge(self):
        delta = self.lora_B @ self.lora_A * self.scale
"""


@pytest.mark.parametrize(
    ("body", "codes"),
    [
        ("self.base.weight.data += delta", ["LS105"]),
        ("self.base.weight.data += delta * self.multiplier", []),
        (
            "weight = self.base.weight.data\n"
            "        if self.wd:\n"
            "            self.base.weight.data = decompose(weight + delta, self.multiplier)\n"
            "        else:\n"
            "            self.base.weight.data = weight + delta * self.multiplier",
            [],
        ),
    ],
    ids=["left out", "there", "given to what makes a direction of the sum"],
)
def test_merge_beside_a_forward_with_strength(body: str, codes: list[str], tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora_layer.py": f"{LAYER}        {body}\n"}, codes=["LS105"])
    assert [finding.code for finding in found] == codes


BUILT = """\
class LoRAModule:
    def __init__(self, base, rank, alpha, multiplier=1.0):
        self.lora_down = nn.Linear(base.in_features, rank, bias=False)
        self.lora_up = nn.Linear(rank, base.out_features, bias=False)
        self.base = base
        self.scale = alpha / rank
        self.multiplier = multiplier

    def forward(self, x):
        return self.base(x) + self.lora_up(self.lora_down(x)) * self.multiplier * self.scale

    def merge_to(self, files):
        down, up = files["lora_down.weight"], files["lora_up.weight"]
        self.base.weight.data += {delta}


def load(model, path, rank, alpha):
    tensors = load_file(path)
    for child in model.children():
        lora = LoRAModule(child, rank, alpha, 1.0)
        lora.merge_to(tensors)
"""


@pytest.mark.parametrize(
    ("delta", "codes"),
    [("self.multiplier * (up @ down) * self.scale", []), ("(up @ down) * self.scale", ["LS105"])],
)
def test_a_caller_that_gives_the_strength_one(delta: str, codes: list[str], tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora_layer.py": BUILT.format(delta=delta)}, codes=["LS105"])
    assert [finding.code for finding in found] == codes


KEPT = """\
class LoRALinear(nn.Module):
    def __init__(self, original, rank=64, alpha=1.0, weight=1.0):
        super().__init__()
        self.scaling = (alpha / rank) * weight
        self.weight = weight
        self.register_buffer("base_weight", original.weight.detach())
        self.lora_A = nn.Parameter(torch.empty(rank, original.in_features))
        self.lora_B = nn.Parameter(torch.zeros(original.out_features, rank))

    def forward(self, x):
        return F.linear(x, self.base_weight) + (x @ self.lora_A.T) @ (self.lora_B.T * self.scaling)

    def merge(self):
        self.base_weight.copy_(self.base_weight + (self.lora_B @ self.lora_A) * self.scaling)
"""
HEAD = "import torch\nimport torch.nn.functional as F\nfrom torch import nn\n\n\n"
MADE = f"{HEAD}from lora_layer import LoRALinear\n\nlayer = LoRALinear(nn.Linear(16, 8), rank=4, alpha=8.0)\n"
CALLED = f"{MADE}print(layer(torch.randn(2, 16)))\n"


@pytest.mark.parametrize("name", ["demo.py", "unit_tests/layers.py"])
def test_a_layer_that_a_script_makes_with_numbers(name: str, tmp_path: Path) -> None:
    """Its scale is a number in `forward`, and symbols in `merge`, which nobody calls."""
    files = {"lora_layer.py": HEAD + KEPT, name: CALLED}
    assert not [f for f in lint_files(tmp_path, files, codes=["LS105"]) if f.code == "LS105"]


def test_a_merge_that_has_the_weight_once_more_than_forward(tmp_path: Path) -> None:
    wrong = KEPT.replace("self.scaling = (alpha / rank) * weight", "self.scaling = alpha / rank").replace(
        "@ self.lora_A) * self.scaling", "@ self.lora_A) * self.scaling * self.weight"
    )
    files = {"lora_layer.py": HEAD + wrong, "unit_tests/layers.py": CALLED}
    assert [f.code for f in lint_files(tmp_path, files, codes=["LS105"])] == ["LS105"]


NORMED = """
import mlx.core as mx
import mlx.nn as nn


class LoKrLinear(nn.Module):
    def __init__(self, linear, lokr_w1, lokr_w2, dora_scale=None, scale: float = 1.0):
        super().__init__()
        self.linear, self.lokr_w1, self.lokr_w2 = linear, lokr_w1, lokr_w2
        self.dora_scale, self.scale = dora_scale, scale

    def change(self):
        weight = self.linear.weight
        delta = mx.kron(self.lokr_w1, self.lokr_w2)
        if self.dora_scale is None:
            return delta
        merged = weight + delta
        {body}

    def __call__(self, x):
        return self.linear(x) + self.scale * (x @ self.change().T)
"""


@pytest.mark.parametrize(
    ("body", "codes"),
    [
        ("return merged * self.dora_scale / mx.linalg.norm(merged, axis=1, keepdims=True) - weight", []),
        ("self.linear.weight = merged", ["LS105"]),
    ],
    ids=["what dora brings to a magnitude", "kept"],
)
def test_a_sum_that_is_normed(body: str, codes: list[str], tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lokr_layer.py": NORMED.format(body=body)}, codes=["LS105"])
    assert [finding.code for finding in found] == codes


LENGTH = """
from torch import nn


class Layer(nn.Module):
    def __init__(self, base, rank, alpha):
        self.base, self.scale, self.strength = base, alpha / rank, 1.0
        self.lora_up = nn.Linear(rank, base.out_features, bias=False)
        self.lora_down = nn.Linear(base.in_features, rank, bias=False)
        self.start = self.length(self.lora_up.weight @ self.lora_down.weight)

    def forward(self, x):
        return self.base(x) + self.lora_up(self.lora_down(x)) * self.scale * self.strength

    def length(self, delta):
        weight = self.base.weight + delta
        return {length}
"""


@pytest.mark.parametrize(
    ("length", "found"), [("torch.linalg.norm(weight, dim=1)", []), ("weight", ["LS105"])]
)
def test_a_sum_whose_length_is_taken_is_no_way(length: str, found: list[str], tmp_path: Path) -> None:
    source = LENGTH.format(length=length)
    assert [f.code for f in lint_files(tmp_path, {"lora_layers.py": source}, codes=["LS105"])] == found


HEIRS = """
from torch import nn


class AdapterMixin:
    def product(self):
        return (self.lora_up.weight @ self.lora_down.weight) * self.scale


class First(AdapterMixin, nn.Module):
    def __init__(self, base, rank, alpha):
        self.base, self.scale = base, alpha / rank
        self.lora_up = nn.Linear(rank, base.out_features, bias=False)
        self.lora_down = nn.Linear(base.in_features, rank, bias=False)

    def forward(self, x):
        return self.base(x) + self.lora_up(self.lora_down(x)) * self.scale


class Second({base}, nn.Module):
    def __init__(self, base, rank, alpha):
        self.base, self.scale = base, alpha / rank
        self.lora_strength = 1.0
        self.lora_up = nn.Linear(rank, base.out_features, bias=False)
        self.lora_down = nn.Linear(base.in_features, rank, bias=False)

    def merge_in(self, share=1.0):
        self.base.weight.data += self.product() * {strength}
"""


@pytest.mark.parametrize(
    ("base", "strength", "found"),
    [
        ("AdapterMixin", "self.lora_strength", []),
        ("First", "self.lora_strength", ["LS105"]),
        ("First", "share", []),
    ],
)
def test_only_ways_of_one_object_are_compared(
    base: str, strength: str, found: list[str], tmp_path: Path
) -> None:
    source = HEIRS.format(base=base, strength=strength)
    assert [f.code for f in lint_files(tmp_path, {"lora_layers.py": source}, codes=["LS105"])] == found
