"""Factors that only their shapes and start values tell apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorascale_lint.engine import lint
from tests.projects import lint_files

LAYER = """
import torch
from torch import nn


class LoRALayer(nn.Module):
    def __init__(self, in_dim, out_dim, rank, alpha):
        super().__init__()
        std_dev = 1 / torch.sqrt(torch.tensor(rank).float())
        self.{first} = {made_first}
        self.{second} = {made_second}
        self.alpha = alpha

    def forward(self, x):
        return self.alpha * (x @ self.{first} @ self.{second})


class LinearWithLoRA(nn.Module):
    def __init__(self, linear, rank, alpha):
        super().__init__()
        self.linear = linear
        self.lora = LoRALayer(linear.in_features, linear.out_features, rank, alpha)

    def forward(self, x):
        return self.linear(x) + self.lora(x)
"""
RANDOM = "nn.Parameter(torch.randn(in_dim, rank) * std_dev)"
ZERO = "nn.Parameter(torch.zeros(rank, out_dim))"


def codes(
    folder: Path, first: str, second: str, made_first: str = RANDOM, made_second: str = ZERO
) -> list[str]:
    """Codes found in the layer with its two parameters called and made so."""
    path = folder / "layers.py"
    path.write_text(LAYER.format(first=first, second=second, made_first=made_first, made_second=made_second))
    return [finding.code for finding in lint([path], []).findings]


@pytest.mark.parametrize("names", [("A", "B"), ("W_a", "W_b"), ("first", "second"), ("u", "v")])
def test_alpha_is_not_divided_whatever_the_factors_are_called(names: tuple[str, str], tmp_path: Path) -> None:
    assert codes(tmp_path, *names) == ["LS107"]


def test_start_values_may_be_moved_to_a_device(tmp_path: Path) -> None:
    assert codes(tmp_path, "A", "B", RANDOM + ".to('cuda')", ZERO + ".to('cuda')") == ["LS107"]
    assert codes(tmp_path, "p", "q", RANDOM + ".cuda()", "nn.Parameter(torch.zeros((rank, out_dim)))") == [
        "LS107"
    ]


@pytest.mark.parametrize(
    "second",
    [
        "nn.Parameter(torch.zeros(rank, 1))",  # a gate for each rank
        "nn.Parameter(torch.zeros(in_dim, out_dim))",  # no low rank
        "nn.Parameter(torch.zeros(rank, rank))",  # a core
        "nn.Parameter(torch.empty(rank, out_dim))",  # start values unknown
    ],
)
def test_other_parameters_are_no_factors(second: str, tmp_path: Path) -> None:
    assert codes(tmp_path, "first", "second", made_second=second) == []


EXPERTS = """\
import torch
from torch import nn


class LoraExperts(nn.Module):
    def __init__(self, n, d_in, d_out, r, lora_alpha):
        super().__init__()
        self.shared_a = nn.Parameter(torch.zeros(r, d_in))
        self.shared_b = nn.Parameter(torch.zeros(d_out, r))
        self.expert_{a} = nn.Parameter(torch.zeros(n, r, d_in))
        self.expert_{b} = nn.Parameter(torch.zeros(n, d_out, r))
        self.scaling = lora_alpha / r

    def shared(self, x, out):
        return out + (x @ self.shared_a.T) @ self.shared_b.T * self.scaling

    def experts(self, x, out, idx):
        h = torch.einsum("bd,brd->br", x, self.expert_{a}[idx])
        return out + torch.einsum("br,bor->bo", h, self.expert_{b}[idx]){scale}
"""


@pytest.mark.parametrize(
    ("a", "b", "scale", "count"),
    [
        ("a", "b", "", 1),
        ("down", "up", "", 1),
        ("a", "b", " * self.scaling", 0),
        ("query", "key", "", 0),  # no word of a factor: nobody knows what the two are
    ],
)
def test_factors_of_several_experts(a: str, b: str, scale: str, count: int, tmp_path: Path) -> None:
    source = EXPERTS.format(a=a, b=b, scale=scale)
    found = lint_files(tmp_path, {"lora_experts.py": source}, codes=["LS102"])
    assert len(found) == count
