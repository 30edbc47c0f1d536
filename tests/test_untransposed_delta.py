"""LS103: products of the factors in either layout, as the activation and the merged weight take them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

LAYER = """\
from torch import nn
from torch.nn import functional as F


class LoRALinear(nn.Module):
    def __init__(self, linear, rank, alpha):
        super().__init__()
        self.linear = linear
        self.lora_a = nn.Linear(linear.in_features, rank, bias=False)
        self.lora_b = nn.Linear(rank, linear.out_features, bias=False)
        self.scaling = alpha / rank

    def forward(self, x):
        delta = {forward}
        return self.linear(x) + (x @ delta) * self.scaling

    def merge(self):
        delta = {merged}
        self.linear.weight.data += delta * self.scaling
"""
TURNED = "self.lora_a.weight.T @ self.lora_b.weight.T"
PLAIN = "self.lora_b.weight @ self.lora_a.weight"
CHANNELS = "F.conv1d(self.lora_a.weight.unsqueeze(0), self.lora_b.weight.unsqueeze(-1)).squeeze(0)"  # B @ A


@pytest.mark.parametrize(
    ("forward", "merged", "codes"),
    [
        (TURNED, f"({TURNED}).T", []),
        (TURNED, PLAIN, []),
        (f"({PLAIN}).T", PLAIN, []),
        (f"({CHANNELS}).T", CHANNELS, []),
        (PLAIN, PLAIN, ["LS103"]),
        (PLAIN, f"({TURNED}).T", ["LS103"]),
        (CHANNELS, CHANNELS, ["LS103"]),
    ],
)
def test_layouts(forward: str, merged: str, codes: list[str], tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora_layer.py": LAYER.format(forward=forward, merged=merged)})
    assert [finding.code for finding in found if finding.code in ("LS103", "LS109")] == codes


PRUNED = """\
from torch import nn


class LoRALinear(nn.Linear):
    def __init__(self, in_features, out_features, r, lora_alpha, kept=None):
        super().__init__(in_features, out_features)
        self.scatter = None
        if kept is not None:
            self.scatter = nn.Parameter(self.weight.new_zeros(len(kept), out_features))
        self.lora_A = nn.Parameter(self.weight.new_zeros((r, in_features)))
        self.lora_B = nn.Parameter(self.weight.new_zeros((out_features, r)))
        self.scaling = lora_alpha / r

    def merge(self):
        delta = self.lora_B @ self.lora_A
        if self.scatter is not None:
            delta = self.scatter.T @ delta
        self.weight.data += delta * self.scaling

    def unmerge(self):
        delta = self.lora_B @ self.lora_A
        if self.scatter is not None:
            delta = self.scatter.T @ delta
        self.weight.data -= delta * self.scaling
"""


def test_a_learned_matrix_on_the_left_is_no_activation(tmp_path: Path) -> None:
    assert lint_files(tmp_path, {"lora_layer.py": PRUNED}) == ()
