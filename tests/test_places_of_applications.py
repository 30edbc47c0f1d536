"""What is an application, and what several callers of one place say together."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorascale_lint.ledger.applications import folds
from tests.projects import lint_files
from tests.provenance.formulas import formulas_of, ledger_of

LAYER = """
class LoraLayer:
    def __init__(self, weight, lora_A, lora_B, alpha, rank):
        self.weight, self.lora_A, self.lora_B = weight, lora_A, lora_B
        self.scaling = alpha / rank

    def merge_to(self, multiplier):
        self.weight.data += self.lora_B @ self.lora_A * (self.scaling * multiplier)


def merge_all(layer: LoraLayer, strength):
    layer.merge_to(strength)
"""


def test_a_caller_that_passes_a_number_gives_no_branch_of_its_own() -> None:
    source = f"{LAYER}\n\ndef main(layer: LoraLayer):\n    layer.merge_to(1.0)\n    layer.merge_to(0.5)\n"
    assert formulas_of(source) == ["alpha / rank * strength"]


def test_a_branch_of_the_code_stays() -> None:
    source = LAYER.replace("self.scaling * multiplier)", "self.scaling * (multiplier if STRONG else 1.0))")
    assert formulas_of(source) == ["alpha / rank | alpha / rank * strength"]


def test_a_caller_without_the_trained_scale_stays() -> None:
    source = """
def apply_lora(weight, lora_A, lora_B, scale):
    return weight + lora_B @ lora_A * scale


def load_lora(weight, lora_A, lora_B, alpha, rank):
    return apply_lora(weight, lora_A, lora_B, alpha / rank)


def other_lora(weight, lora_A, lora_B):
    return apply_lora(weight, lora_A, lora_B, 1.0)
"""
    assert formulas_of(source) == ["alpha / rank | 1"]


IA3 = """
import torch
from torch import nn


class LoraVector(nn.Module):
    def __init__(self, width, lora_alpha):
        super().__init__()
        self.lora_B = nn.Parameter(torch.zeros(width))
        self.scaling = lora_alpha

    def compose(self, weights):
        return weights * (self.lora_B * self.scaling)
"""


def test_a_vector_that_scales_is_no_fold() -> None:
    assert not folds(ledger_of(IA3))
    pair = IA3.replace(
        "        self.scaling",
        "        self.lora_A = nn.Parameter(torch.zeros(4, width))\n        self.scaling",
    )
    assert folds(ledger_of(pair))


LAYER_WITH_DEFAULT = """\
class LoRALayer(nn.Module):
    def __init__(self, size, rank=4, alpha=None):
        super().__init__()
        self.alpha = alpha if alpha is not None else float(rank)
        self.scaling = self.alpha / rank
        self.lora_A = nn.Parameter(torch.empty(rank, size))
        self.lora_B = nn.Parameter(torch.zeros(size, rank))

    def forward(self, x):
        return self.base(x) + (x @ self.lora_A.T @ self.lora_B.T){scale}

    def load(self, weights):
        self.lora_A.copy_(weights["lora_A"])
        self.lora_B.copy_(weights["lora_B"])
"""
CALLS_IT = (
    "from lora import LoRALayer\n\n\ndef test_shape():\n    assert LoRALayer(8, rank=2)(x).shape == x.shape\n"
)


@pytest.mark.parametrize(("scale", "codes"), [(" * self.scaling", []), ("", ["LS102"])])
def test_a_test_gives_a_layer_its_own_numbers(scale: str, codes: list[str], tmp_path: Path) -> None:
    files = {"lora.py": LAYER_WITH_DEFAULT.format(scale=scale), "test_lora.py": CALLS_IT}
    assert [finding.code for finding in lint_files(tmp_path, files, codes=["LS102"])] == codes
