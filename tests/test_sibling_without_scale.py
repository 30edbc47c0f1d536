"""LS119: factors that a layer scales on one path and not on another, and what only looks like it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

PLAIN = """\
import torch
from torch import nn
import torch.nn.functional as F


class AdaptedLora(nn.Module):
    def __init__(self, base, r, alpha):
        super().__init__()
        self.base = base
        self.rank = r
        self.scaling = alpha / r
        self.lora_A = nn.Parameter(torch.randn(r, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, r))
"""
BY_NAME = """\
import torch
from torch import nn


class ManyLora(nn.Module):
    def __init__(self, base):
        super().__init__()
        self.base = base
        self.scaling = {}
        self.lora_A = nn.ParameterDict()
        self.lora_B = nn.ParameterDict()

    def update(self, name, r, alpha):
        self.scaling[name] = alpha / r
        self.lora_A[name] = nn.Parameter(torch.randn(r, self.base.in_features))
        self.lora_B[name] = nn.Parameter(torch.zeros(self.base.out_features, r))
"""
HADAMARD = """\
import torch
from torch import nn


class LohaLayer(nn.Module):
    def __init__(self, base, rank, alpha, multiplier=1.0):
        super().__init__()
        self.base = base
        self.scale = alpha / rank
        self.multiplier = multiplier
        self.hada_w1_a = nn.Parameter(torch.zeros(base.out_features, rank))
        self.hada_w1_b = nn.Parameter(torch.randn(rank, base.in_features))
        self.hada_w2_a = nn.Parameter(torch.randn(base.out_features, rank))
        self.hada_w2_b = nn.Parameter(torch.randn(rank, base.in_features))

    def delta(self):
        return (self.hada_w1_a @ self.hada_w1_b) * (self.hada_w2_a @ self.hada_w2_b)

    def forward(self, x):
        return self.base(x) + nn.functional.linear(x, self.delta() * self.scale * self.multiplier)
"""

WRONG = {
    "one scaling for each adapter, never used": BY_NAME
    + """
    def merge(self, name):
        self.base.weight.data += self.lora_B[name] @ self.lora_A[name]
""",
    "forward of one adapter, merge of another kind": BY_NAME
    + """
    def forward(self, x, name):
        return self.base(x) + x @ self.lora_A[name].T @ self.lora_B[name].T * self.scaling[name]

    def fuse(self):
        for name in self.lora_A:
            delta = torch.mm(self.lora_B[name], self.lora_A[name])
            self.base.weight.data.add_(delta)
""",
    "Hadamard product with the multiplier alone": HADAMARD
    + """
    def merge(self):
        self.base.weight.data += self.delta() * self.multiplier
""",
    "a function beside the class": HADAMARD
    + """

def bake(module):
    if isinstance(module, LohaLayer):
        module.base.weight.data += module.delta()
""",
}
RIGHT = {
    "both scaled": BY_NAME
    + """
    def merge(self, name):
        self.base.weight.data += self.lora_B[name] @ self.lora_A[name] * self.scaling[name]
""",
    "folded when the factors come": BY_NAME
    + """
    def load(self, name, a, b):
        self.lora_A[name] = a
        self.lora_B[name] = b * self.scaling[name]

    def merge(self, name):
        self.base.weight.data += self.lora_B[name] @ self.lora_A[name]
""",
    "read by other code of the project": BY_NAME
    + """
    def merge(self, name):
        self.base.weight.data += self.lora_B[name] @ self.lora_A[name]


def prepare(layer, name):
    layer.lora_B[name].data *= layer.scaling[name]
""",
    "the caller scales what the helper returns": HADAMARD
    + """
    def merge(self):
        self.base.weight.data += self.scaled()

    def scaled(self):
        return self.delta() * self.scale
""",
    "no scale anywhere": """\
import torch
from torch import nn


class PlainLora(nn.Module):
    def __init__(self, base, rank):
        super().__init__()
        self.base = base
        self.lora_A = nn.Parameter(torch.randn(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        return self.base(x) + x @ self.lora_A.T @ self.lora_B.T

    def merge(self):
        self.base.weight.data += self.lora_B @ self.lora_A
""",
    "a full Kronecker product has no rank": """\
import torch
from torch import nn


class LokrLayer(nn.Module):
    def __init__(self, base, rank, alpha, full):
        super().__init__()
        self.base = base
        self.full = full
        self.scale = alpha / rank
        self.lokr_w1 = nn.Parameter(torch.randn(8, 8))
        self.lokr_w2 = nn.Parameter(torch.randn(base.out_features // 8, base.in_features // 8))
        self.lokr_w2_a = nn.Parameter(torch.randn(base.out_features // 8, rank))
        self.lokr_w2_b = nn.Parameter(torch.zeros(rank, base.in_features // 8))

    def merge(self):
        if self.full:
            self.base.weight.data += torch.kron(self.lokr_w1, self.lokr_w2)
        else:
            self.base.weight.data += torch.kron(self.lokr_w1, self.lokr_w2_a @ self.lokr_w2_b) * self.scale
""",
    "a switch between scaled and plain": PLAIN
    + """
    def merge(self):
        if self.rank == 0:
            return
        delta = self.lora_B @ self.lora_A
        self.base.weight.data += delta * self.scaling
""",
}


@pytest.mark.parametrize("name", WRONG)
def test_found(name: str, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora_layer.py": WRONG[name]}, codes=["LS119"])
    assert [finding.code for finding in found] == ["LS119"]
    assert found[0].trace


@pytest.mark.parametrize("name", RIGHT)
def test_silent(name: str, tmp_path: Path) -> None:
    assert lint_files(tmp_path, {"lora_layer.py": RIGHT[name]}, codes=["LS119"]) == ()


MODES = (
    PLAIN
    + """
        self.principal = False

    def start(self, left, right):
        self.{flag} = True
        self.lora_A.data, self.lora_B.data = right, left
        self.base.weight.data -= self.lora_B @ self.lora_A

    def forward(self, x):
        if self.principal:
            return self.base(x) + F.linear(F.linear(x, self.lora_A), self.lora_B)
        return self.base(x) + self.scaling * F.linear(F.linear(x, self.lora_A), self.lora_B)
"""
)


@pytest.mark.parametrize(("flag", "is_found"), [("principal", False), ("started", True)])
def test_a_mode_that_has_no_scale(flag: str, is_found: bool, tmp_path: Path) -> None:
    """PiSSA: under the flag that the method sets, the forward adds the factors as they are."""
    source = MODES.format(flag=flag)
    found = lint_files(tmp_path, {"lora_layer.py": source}, codes=["LS101", "LS102", "LS119"])
    assert bool(found) == is_found


def test_another_rule_that_reports_the_statement_is_enough(tmp_path: Path) -> None:
    source = (
        PLAIN
        + """
    def forward(self, x):
        return self.base(x) + F.linear(F.linear(x, self.lora_A), self.lora_B) * self.scaling

    def merge(self):
        self.base.weight.data += self.lora_B @ self.lora_A
"""
    )
    found = lint_files(tmp_path, {"lora_layer.py": source})
    assert len(found) == 1
    assert found[0].code == "LS101"


def test_a_layer_without_the_word(tmp_path: Path) -> None:
    source = """\
import torch
from torch import nn


class AdaptedLinear(nn.Module):
    def __init__(self, inner, rank=None, alpha=None, training=False):
        super().__init__()
        self.inner = inner
        self.rank = rank
        self.alpha = alpha
        self.is_merged = False
        self.down = None
        self.up = None
        if training:
            self.alpha = alpha if alpha is not None else rank
            self.down = nn.Parameter(torch.randn(rank, inner.in_features))
            self.up = nn.Parameter(torch.zeros(inner.out_features, rank))

    def forward(self, x):
        y = self.inner(x)
        if self.is_merged:
            return y
        extra = nn.functional.linear(nn.functional.linear(x, self.down), self.up)
        if self.alpha != self.rank:
            extra = extra * (self.alpha / self.rank)
        return y + extra

    def load_factors(self, down, up):
        self.down = nn.Parameter(down)
        self.up = nn.Parameter(up)
        self.bake()

    def bake(self):
        w = self.inner.weight
        self.inner.weight = nn.Parameter(torch.add(w, torch.matmul(self.up.to(w), self.down.to(w))))
        self.is_merged = True
"""
    found = lint_files(tmp_path, {"layer.py": source}, codes=["LS119"])
    assert [(finding.code, finding.span.start.row) for finding in found] == [("LS119", 35)]


def test_a_delta_that_a_method_gives_back_scaled(tmp_path: Path) -> None:
    source = (
        HADAMARD.partition("    def forward")[0]
        + """
    def get_weight(self):
        return self.delta() * self.scale

    def bypass_forward(self, x):
        return self.base(x) + nn.functional.linear(x, self.delta())
"""
    )
    found = lint_files(tmp_path, {"lora_layer.py": source}, codes=["LS119"])
    assert [finding.code for finding in found] == ["LS119"]


def test_a_kept_scale_that_a_class_above_or_below_reads(tmp_path: Path) -> None:
    source = (
        BY_NAME
        + """
    def merge(self, name):
        self.base.weight.data += self.lora_B[name] @ self.lora_A[name]


class Scaled(ManyLora):
    def update(self, name, r, alpha):
        super().update(name, r, alpha)
        self.lora_B[name].data *= self.scaling[name]
"""
    )
    assert lint_files(tmp_path, {"lora_layer.py": source}, codes=["LS119"]) == ()
