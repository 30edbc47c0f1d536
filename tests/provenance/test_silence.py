"""What nobody can know stays unknown, and what is no LoRA is no application."""

from __future__ import annotations

import pytest

from lorascale_lint.ledger.applications import applications
from tests.provenance.formulas import formula_of, ledger_of

UNKNOWN = {
    "an entry of an earlier round of a loop": """
        def merge(weight, adapters):
            first = {}
            for lora_A, lora_B, name, alpha in adapters:
                if name not in first:
                    first[name] = alpha
                weight = weight + lora_B @ lora_A * (alpha / first[name])
            return weight
    """,
    "a scale computed out of sight": """
        def merge(weight, lora_A, lora_B, alpha, rank):
            return weight + lora_B @ lora_A * find_number(alpha, rank)
    """,
    "a number chosen by a random draw": """
        import random

        def merge(weight, lora_A, lora_B):
            return weight + lora_B @ lora_A * random.choice(NUMBERS)
    """,
    "a list that others fill": """
        class LoraLayer:
            def merge(self, weight, lora_A, lora_B):
                return weight + lora_B @ lora_A * self.held[3]
    """,
    "a sum of numbers": """
        def merge(weight, lora_A, lora_B, alpha, rank, offset):
            return weight + lora_B @ lora_A * (alpha / rank + offset)
    """,
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_unknown_stays_unknown_and_has_a_reason(case: str) -> None:
    (found,) = applications(ledger_of(UNKNOWN[case]))
    assert found.formula == "unknown"
    assert found.reasons


NO_LORA = {
    "attention": """
        def attend(query, key, value, scale):
            return query @ key.transpose(-1, -2) * scale
    """,
    "attention beside a LoRA word": """
        def attend_lora(query, key, value, residual, scale):
            weights = (query @ key.transpose(-1, -2) * scale).softmax(-1)
            return residual + weights @ value
    """,
    "alpha blending": """
        def blend(down, up, alpha):
            return down * alpha + up * (1 - alpha)
    """,
    "a bottleneck of an MLP": """
        class MLP:
            def forward(self, x):
                return x + self.down(self.up(x))
    """,
    "a radio": """
        def send(lora_radio, down, up, alpha):
            return lora_radio.base + up * down * alpha
    """,
}


@pytest.mark.parametrize("case", NO_LORA)
def test_what_is_no_lora(case: str) -> None:
    assert formula_of(NO_LORA[case]) == []


def test_opposite_branches_are_never_mixed() -> None:
    source = """
        def merge(weight, lora_A, lora_B, alpha, rank, use_rslora):
            number = alpha if use_rslora else alpha / rank
            if use_rslora:
                number = number / rank**0.5
            return weight + lora_B @ lora_A * number
    """
    assert formula_of(source) == ["alpha / rank | alpha / sqrt(rank)"]


def test_a_branch_that_is_not_taken_says_nothing() -> None:
    source = """
        def merge(weight, lora_A, lora_B, alpha, rank):
            number = alpha / rank
            if False:
                number = 5
            return weight + lora_B @ lora_A * number
    """
    assert formula_of(source) == ["alpha / rank"]


def test_endless_code_ends() -> None:
    source = """
        def number(alpha, rank):
            return number(alpha, rank)

        def merge(weight, lora_A, lora_B, alpha, rank):
            while True:
                weight = weight + lora_B @ lora_A * number(alpha, rank)
    """
    assert formula_of(source) == ["unknown"]


def test_a_file_that_is_no_python_is_silent() -> None:
    assert formula_of("def lora_A(") == []


def test_a_sum_that_is_doubled_in_each_row_stays_small() -> None:
    rows = "".join("    d = d + d * s\n" for _ in range(60))
    source = f"def merge(weight, lora_A, lora_B, s):\n    d = lora_B @ lora_A\n{rows}    weight += d\n"
    assert formula_of(source) == ["unknown"]


def test_keys_that_are_doubled_in_each_row_stay_short() -> None:
    row = '    key = f"{key}.{key}"\n    other = key + key.replace("a", key)\n'
    row += "    key = other if alpha else key\n"
    source = f"def merge_lora(sd, key, alpha):\n{row * 30}    sd[key] = sd[key + '.lora_A'] * alpha\n"
    assert ledger_of(source).bounds == []


def test_a_chain_of_comparisons_is_asked_link_by_link() -> None:
    source = """
        def merge(weight, lora_A, lora_B, alpha, rank, ratio):
            assert 1 >= ratio >= 0
            scale = alpha / rank if 0 < 1 < 2 else 1.0
            weight += lora_B @ lora_A * scale
    """
    assert ledger_of(source).bounds == []
    assert formula_of(source) == ["alpha / rank"]
