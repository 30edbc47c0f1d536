"""LS123: the bias of B in merges and unmerges."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

LAYER = """\
from torch import nn


class LoraLinear(nn.Module):
    def __init__(self, base, rank, alpha, lora_bias=False):
        super().__init__()
        self.base = base
        self.scaling = alpha / rank
        self.lora_A = nn.Linear(base.in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, base.out_features, bias=lora_bias)

    def forward(self, x):
        return self.base(x) + self.lora_B(self.lora_A(x)) * self.scaling

    def delta(self):
        return self.scaling * (self.lora_B.weight @ self.lora_A.weight)
"""
NAMED = """\
from torch import nn


class LoraLinear(nn.Module):
    def __init__(self, base):
        super().__init__()
        self.base = base
        self.scaling = {}
        self.lora_A = nn.ModuleDict({})
        self.lora_B = nn.ModuleDict({})

    def update_layer(self, name, r, lora_alpha, lora_bias):
        self.scaling[name] = lora_alpha / r
        self.lora_A[name] = nn.Linear(self.base.in_features, r, bias=False)
        self.lora_B[name] = nn.Linear(r, self.base.out_features, bias=lora_bias)

    def forward(self, x):
        result = self.base(x)
        for name in self.lora_A:
            result = result + self.lora_B[name](self.lora_A[name](x)) * self.scaling[name]
        return result
"""
WRONG = {
    "in place": LAYER
    + """
    def merge(self):
        if self.lora_B.bias is not None:
            self.base.bias.data += self.lora_B.bias
""",
    "an unmerge": LAYER
    + """
    def unmerge(self):
        self.base.weight.data -= self.delta()
        self.base.bias.data.sub_(self.lora_B.bias.data)
""",
    "one for each adapter": NAMED
    + """
    def merge(self, name):
        self.base.bias.data = self.base.bias.data + self.lora_B[name].bias
""",
}
RIGHT = {
    "scaled": LAYER
    + """
    def merge(self):
        self.base.bias.data += self.lora_B.bias * self.scaling
""",
    "scaled for each adapter": NAMED
    + """
    def merge(self, name):
        self.base.bias.data.add_(self.lora_B[name].bias, alpha=self.scaling[name])
""",
    "no scale in the layer": LAYER.replace(" * self.scaling", "").replace("self.scaling * ", "")
    + """
    def merge(self):
        self.base.bias.data += self.lora_B.bias
""",
    "the bias of a layer of the model that is called up": LAYER
    + """

def parameters_of(proj):
    base_layer = proj.base_layer if hasattr(proj, "base_layer") else proj
    name = proj.active_adapter
    lora_A, lora_B = proj.lora_A[name].weight, proj.lora_B[name].weight
    return base_layer.weight, base_layer.bias, lora_A, lora_B, proj.scaling[name]


class FusedMLP:
    @staticmethod
    def forward(ctx, x, up_weight, up_bias, up_A, up_B, up_scale):
        up = x @ up_weight.T + up_scale * (x @ up_A.T @ up_B.T)
        if up_bias is not None:
            up = up + up_bias
        return up


def apply_fused(self, x):
    return FusedMLP.apply(x, *parameters_of(self.up_proj))
""",
    "no sum": LAYER
    + """
    def state(self):
        return {"lora_B.bias": self.lora_B.bias}
""",
}


@pytest.mark.parametrize("name", WRONG)
def test_found(name: str, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora_layer.py": WRONG[name]}, codes=["LS123"])
    assert [finding.code for finding in found] == ["LS123"]


@pytest.mark.parametrize("name", RIGHT)
def test_silent(name: str, tmp_path: Path) -> None:
    assert lint_files(tmp_path, {"lora_layer.py": RIGHT[name]}, codes=["LS123"]) == ()
