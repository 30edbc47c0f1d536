"""What a quantised factor stands for is that factor: the scale of its numbers is none of LoRA."""

from __future__ import annotations

import pytest

from tests.provenance.formulas import formula_of

LAYER = """
def {name}(stored, factor):
    return stored.float() * factor

def merge(weight, lora_A, lora_B, a_factor, b_scale, alpha, rank):
    down, up = {name}(lora_A, a_factor), {name}(lora_B, b_scale)
    return weight + up @ down * (alpha / rank)
"""


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("dequantize_int8", "alpha / rank"),
        ("dequant", "alpha / rank"),
        ("unquantise", "alpha / rank"),
        ("weigh", "unknown"),
    ],
)
def test_factors_that_are_restored(name: str, formula: str) -> None:
    assert formula_of(LAYER.format(name=name)) == [formula]
