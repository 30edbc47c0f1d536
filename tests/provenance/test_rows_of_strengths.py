"""A row of strengths that is filled up with 1 where a person gave too few holds strengths."""

from __future__ import annotations

import pytest

from tests.provenance.formulas import formula_of

MERGE = """
def merge(weight, loras, strengths):
    {filled}
    for lora, strength in zip(loras, strengths):
        scale = lora["alpha"] / lora["lora_A"].shape[0]
        weight = weight + strength * scale * (lora["lora_B"] @ lora["lora_A"])
    return weight
"""

FILLED = {
    "a list that is added": "strengths = list(strengths) + [1.0] * (len(loras) - len(strengths))",
    "in place": "strengths += [1.0] * (len(loras) - len(strengths))",
    "one by one": """
    if strengths is None:
        strengths = [1.0] * len(loras)
    while len(strengths) < len(loras):
        strengths.append(1.0)""",
    "cut": """
    if strengths is None:
        strengths = [1] * len(loras)
    strengths = strengths[: len(loras)]""",
    "unpacked": "strengths = [*strengths, *[1.0] * (len(loras) - len(strengths))]",
    "all or none": "strengths = strengths or [1.0] * len(loras)",
}


@pytest.mark.parametrize("filled", FILLED)
def test_the_rest_is_a_strength_that_nobody_gave(filled: str) -> None:
    assert formula_of(MERGE.format(filled=FILLED[filled])) == ["alpha / rank * strength"]


def test_by_index() -> None:
    source = """
def merge(weight, loras, strengths):
    strengths = list(strengths) + [1.0] * (len(loras) - len(strengths))
    for index, lora in enumerate(loras):
        scale = lora["alpha"] / lora["lora_A"].shape[0]
        weight = weight + strengths[index] * scale * (lora["lora_B"] @ lora["lora_A"])
    return weight
"""
    assert formula_of(source) == ["alpha / rank * strength"]


@pytest.mark.parametrize("kept", ["2.0", "0.5"])
def test_another_number_is_no_filler(kept: str) -> None:
    filled = f"strengths = list(strengths) + [{kept}] * (len(loras) - len(strengths))"
    assert formula_of(MERGE.format(filled=filled)) == [
        f"{float(kept):g} / rank * alpha | alpha / rank * strength"
    ]


def test_beside_scales_a_one_is_a_scale() -> None:
    source = """
def merge(weight, loras):
    scales = []
    for lora in loras:
        scales.append(lora["alpha"] / lora["lora_A"].shape[0])
    scales += [1.0] * (len(loras) - len(scales))
    for lora, scale in zip(loras, scales):
        weight = weight + scale * (lora["lora_B"] @ lora["lora_A"])
    return weight
"""
    assert formula_of(source) == ["alpha / rank | 1"]


def test_two_lengths_may_differ() -> None:
    source = """
def merge(weight, lora_A, lora_B, alpha, rank, layers, blocks):
    strength = alpha / rank * len(layers) / len(blocks)
    return weight + strength * (lora_B @ lora_A)
"""
    assert formula_of(source) == ["unknown"]


def test_a_list_grows_between_two_lengths() -> None:
    source = """
def merge(weight, lora_A, lora_B, alpha, rank, layers, block):
    held = list(layers)
    before = len(held)
    held.append(block)
    return weight + alpha / rank * before / len(held) * (lora_B @ lora_A)
"""
    assert formula_of(source) == ["unknown"]
