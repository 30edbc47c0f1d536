"""LS115: code that reads the weight of a LoRA layer, and so passes by the forward that adds the delta."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

LAYER = """\
import torch
import torch.nn as nn
import torch.nn.functional as F


class LoRALinear(nn.Module):
    def __init__(self, base: nn.Linear, r: int, alpha: float):
        super().__init__()
        self.base = base
        self.lora_A = nn.Parameter(torch.randn(r, base.in_features) / r)
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, r))
        self.scaling = alpha / r

    @property
    def weight(self):
        return {weight}

    def forward(self, x):
        return self.base(x) + F.linear(F.linear(x, self.lora_A), self.lora_B) * self.scaling


"""
BASE = "self.base.weight"
HEAD = """\
class Head(nn.Module):
    def __init__(self, dim, classes):
        super().__init__()
        self.proj = LoRALinear(nn.Linear(dim, classes), 8, 16)

    def forward(self, x):
        return {out}
"""
ATTENTION = """\
def adapt(attn{note}):
    {test}
    attn.out_proj = LoRALinear(attn.out_proj, 8, 16)
"""


@pytest.mark.parametrize(
    ("weight", "use", "expected"),
    [
        (BASE, HEAD.format(out="F.linear(F.normalize(x), self.proj.weight)"), ["high"]),
        (BASE, HEAD.format(out="F.linear(x, weight=self.proj.weight)"), ["high"]),
        (BASE, ATTENTION.format(note=": nn.MultiheadAttention", test="pass"), ["high"]),
        (BASE, ATTENTION.format(note="", test="pass"), ["medium"]),
        (
            BASE,
            ATTENTION.format(note="", test="if not isinstance(attn, nn.MultiheadAttention):\n        return"),
            ["high"],
        ),
        (BASE, HEAD.format(out="self.proj(x.to(self.proj.weight.dtype))"), []),
        (BASE, HEAD.format(out="self.proj(x) + F.linear(x, self.other.weight)"), []),
        (
            "self.base.weight + self.lora_B @ self.lora_A * self.scaling",
            HEAD.format(out="F.linear(x, self.proj.weight)"),
            [],
        ),
        ("self.merged_weight", ATTENTION.format(note=": nn.MultiheadAttention", test="pass"), []),
    ],
)
def test_the_weight_of_the_base(weight: str, use: str, expected: list[str], tmp_path: Path) -> None:
    """Who multiplies by the weight of a layer must get the one that its forward stands for."""
    source = LAYER.format(weight=weight) + use
    found = lint_files(tmp_path, {"lora_layer.py": source}, codes=["LS115"])
    assert [item.confidence for item in found] == expected


OF_LIBRARY = """\
import torch.nn as nn
import torch.nn.functional as F


class LoRALinear({base}):
    def __init__(self, source, r, alpha):
        super().__init__(source.in_features, source.out_features)
        self.load_state_dict(source.state_dict())
        self.lora_down = nn.Linear(source.in_features, r, bias=False)
        self.lora_up = nn.Linear(r, source.out_features, bias=False)
        self.scale = alpha / r

    def forward(self, x):
        return F.linear(x, self.weight, self.bias) + self.lora_up(self.lora_down(x)) * self.scale
{more}

def adapt(attn: nn.MultiheadAttention):
    attn.out_proj = LoRALinear(attn.out_proj, 8, 16)
"""
MERGES = """
    def merge(self):
        self.weight.data += self.lora_up.weight @ self.lora_down.weight * self.scale
"""


@pytest.mark.parametrize(("base", "more", "count"), [("nn.Linear", "", 1), ("nn.Linear", MERGES, 0)])
def test_a_layer_of_the_library(base: str, more: str, count: int, tmp_path: Path) -> None:
    """What inherits the weight of a layer gives it out as it is, until it is merged."""
    source = OF_LIBRARY.format(base=base, more=more)
    assert len(lint_files(tmp_path, {"lora_layer.py": source}, codes=["LS115"])) == count
