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
    "a field called scale of a record that a caller fills with something unknown": """
        import torch
        from dataclasses import dataclass

        @dataclass
        class Weights:
            lora_down: torch.Tensor
            lora_up: torch.Tensor
            scale: float

        def apply_lora(weight, item: Weights):
            weight += (item.lora_up @ item.lora_down) * item.scale
            return weight

        def merge_lora(weight, lora_down, lora_up, alpha):
            scale = alpha / lora_down.shape[1]
            return apply_lora(weight, Weights(lora_down, lora_up, scale))
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


OUT_OF_SIGHT = """
    def delta(down, up, scale=1.0):
        return up @ down * scale

    def merge(weight, lora_A, lora_B, options, numbers):
        return weight + delta(lora_A, lora_B{given})
"""


@pytest.mark.parametrize(
    ("given", "formula"),
    [("", "1"), (", **{}", "1"), (", **options", "1 | multiplier"), (", *numbers", "1 | multiplier")],
)
def test_a_default_is_certain_only_where_no_argument_is_out_of_sight(given: str, formula: str) -> None:
    assert formula_of(OUT_OF_SIGHT.format(given=given)) == [formula]


NUMBER_OR_NONE = """
import torch

def merge(weight, lora_A, lora_B, alpha, rank, flag):
    number, factor = None, 1.0
    if flag:
        number = alpha / rank
        factor = 2.0
    {use}
    return weight
"""


@pytest.mark.parametrize(
    ("use", "formula"),
    [
        ("weight += lora_B @ lora_A * (number * factor)", "2 / rank * alpha"),  # of None no product is taken
        ("weight += lora_B @ lora_A * number * factor", "2 / rank * alpha"),
        ("weight += torch.mul(lora_B @ lora_A, number) * factor", "2 / rank * alpha"),
        ("delta = lora_B @ lora_A * number\n    weight += delta * factor", "2 / rank * alpha"),
        (
            "if number is not None:\n        weight += lora_B @ lora_A * number * factor",
            "2 / rank * alpha",
        ),
        ("if number is None:\n        weight += lora_B @ lora_A * factor", "1"),
        ("weight += lora_B @ lora_A * factor", "1 | 2"),
    ],
)
def test_where_a_number_can_not_be_none_its_condition_holds(use: str, formula: str) -> None:
    assert formula_of(NUMBER_OR_NONE.format(use=use)) == [formula]


@pytest.mark.parametrize(
    "use",
    [
        "number and number * 2",
        "number is not None and number * 2 > 1",
        "[number * i for i in range(rank)]",
        "0 if number is None else number * 2",
    ],
)
def test_where_a_part_may_not_be_evaluated_no_condition_follows(use: str) -> None:
    lines = f"used = {use}\n    weight += lora_B @ lora_A * factor"
    assert formula_of(NUMBER_OR_NONE.format(use=lines)) == ["1 | 2"]


def test_a_number_that_is_set_in_any_case_brings_no_condition() -> None:
    source = """
        def merge(weight, lora_A, lora_B, alpha, rank, flag):
            number, factor = None, 1.0
            if flag:
                number, factor = alpha / rank, 2.0
            else:
                number = 3 * alpha / rank
            return weight + lora_B @ lora_A * number * factor
    """
    assert formula_of(source) == ["2 / rank * alpha | 3 / rank * alpha"]


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


PARTS = {
    "unpacked": "u, s, v = torch.linalg.svd(delta_weight)\n    made = u[:, :r] @ torch.diag(s[:r])",
    "named": "parts = torch.svd(delta_weight)\n    made = parts.U @ parts.S.diag()",
    "by index": "parts = torch.svd_lowrank(weight, r)\n    made = torch.mm(parts[0], parts[1].diag())",
    "with its root": "u, s, v = torch.linalg.svd(weight - base)\n    made = (s.sqrt().diag()) @ v",
    "of a factor": "u, s, v = torch.linalg.svd(lora_B)\n    made = (u * s) @ v",
}


@pytest.mark.parametrize("way", PARTS)
def test_parts_of_a_decomposition_are_no_delta_and_known(way: str) -> None:
    (product,) = ledger_of(f"""
import torch


def extract_lora(weight, base, delta_weight, lora_B, r):
    {PARTS[way]}
    return made
""").products
    assert (product.kind, product.reasons) == ("other", ())


def test_parts_of_a_decomposition_beside_something_unknown_are_not_known() -> None:
    (product,) = ledger_of("""
import torch


def extract_lora(delta_weight, thing):
    u, s, v = torch.linalg.svd(delta_weight)
    return u @ thing
""").products
    assert (product.kind, product.reasons) == ("other", ("thing",))


def test_factors_that_a_decomposition_gives_are_factors_by_their_names() -> None:
    source = """
import torch


def merge(weight, residual, lora_alpha, rank):
    lora_B, s, lora_A = torch.linalg.svd(residual)
    return weight + lora_B @ lora_A * (lora_alpha / rank)
"""
    assert formula_of(source) == ["alpha / rank"]


def test_a_mapping_pattern_is_asked_for_its_keys() -> None:
    source = """
class LoraLinear:
    lora_alpha = 1.0
    r = 1.0

    def __init__(self, weight, lora_A, lora_B, lora_alpha, r):
        self.weight, self.lora_A, self.lora_B = weight, lora_A, lora_B
        match {"alpha": lora_alpha, "r": r}:
            case {"alpha": lora_alpha, "rank": r}:
                self.lora_alpha = 5
            case {"alpha": lora_alpha, "r": r}:
                self.lora_alpha = lora_alpha
                self.r = r

    def merge(self):
        self.weight.data += self.lora_B @ self.lora_A * (self.lora_alpha / self.r)
"""
    assert formula_of(source) == ["alpha / rank"]


def test_what_holds_where_no_pattern_matches_is_not_mixed_with_what_holds_where_one_does() -> None:
    source = """
def merge(weight, lora_A, lora_B, alpha, rank, entry):
    number, factor = 1, 1
    match entry:
        case {"scaled": True}:
            number, factor = alpha / rank, 2
        case {"scaled": 3}:
            number, factor = 3 * alpha / rank, 5
    return weight + lora_B @ lora_A * number * factor
"""
    assert formula_of(source) == ["15 / rank * alpha | 2 / rank * alpha | 1"]


def test_a_helper_is_not_known_where_its_caller_is_not() -> None:
    source = """
def apply_lora(weight, lora_A, lora_B, scale):
    return weight + lora_B @ lora_A * scale


def merge_lora(weight, lora_A, lora_B, alpha, thing):
    return apply_lora(weight, lora_A, lora_B, alpha / thing)
"""
    assert formula_of(source) == ["unknown"]


def test_a_method_is_known_by_its_fields_whoever_calls_it() -> None:
    source = """
class LoraLinear:
    def __init__(self, weight, lora_A, lora_B, alpha, rank):
        self.weight, self.lora_A, self.lora_B, self.scaling = weight, lora_A, lora_B, alpha / rank

    def merge(self):
        self.weight += self.lora_B @ self.lora_A * self.scaling


def merge_all(layers, thing):
    for layer in layers:
        layer.scaling = thing
        layer.merge()
"""
    assert formula_of(source) == ["alpha / rank"]


def test_the_rank_of_batched_factors_is_their_second_extent() -> None:
    source = """
def apply_lora(weight, lora_A, lora_B):
    weight.baddbmm_(lora_B, lora_A)


def merge_lora(weight, lora_A, lora_B, alpha):
    apply_lora(weight, lora_A, lora_B * (alpha / lora_A.shape[1]))
"""
    assert formula_of(source) == ["alpha / rank"]


FROM_AN_ENTRY = """
import torch
from torch import nn


class LoraLinear(nn.Module):
    lora_A = None
    lora_B = None
    lora_alpha = 1.0
    r = 1.0

    def __init__(self, base, entry):
        super().__init__()
        self.base = base
        if (lora_A := entry.get("lora_A")) is not None:
            self.lora_A = lora_A
            self.lora_B = entry["lora_B"]
            self.lora_alpha = entry["lora_alpha"]
            self.r = entry["r"]

    def merge(self):
        {merge}
"""


@pytest.mark.parametrize(
    "merge",
    [
        'delta = torch.einsum("or,ri->oi", self.lora_B, self.lora_A)\n'
        "        self.base.weight.data += delta * (self.lora_alpha / self.r)",
        "weight = self.base.weight.data\n"
        "        weight.copy_(torch.addmm(weight, self.lora_B, self.lora_A, alpha=self.lora_alpha / self.r))",
        "scaling = self.lora_alpha / self.r\n"
        "        self.base.weight.data += scaling * torch.einsum('ri,or->oi', self.lora_A, self.lora_B)",
        "self.base.weight.data += self.lora_alpha / self.r * (self.lora_B @ self.lora_A)",
        "scaled = torch.mul(torch.mm(self.lora_B, self.lora_A), self.lora_alpha)\n"
        "        self.base.weight.data += torch.div(scaled, self.r)",
    ],
)
def test_what_is_multiplied_was_there_and_so_was_what_came_with_it(merge: str) -> None:
    assert formula_of(FROM_AN_ENTRY.format(merge=merge)) == ["alpha / rank"]


def test_two_things_that_may_be_too_much_are_not_one() -> None:
    """What is stored into one of them is not found in the other."""
    kinds = "\n".join(f"    if kind == {n}:\n        lora_A, lora_B = [a{n}], [b{n}]" for n in range(12))
    source = f"""
def merge(weight, kind, lora_down, lora_up, scaling, {", ".join(f"a{n}, b{n}" for n in range(12))}):
    lora_A, lora_B = lora_down, lora_up
{kinds}
    lora_A.data = lora_down * scaling
    return weight + lora_B.data @ lora_down
"""
    assert formula_of(source) == ["1"]


@pytest.mark.parametrize("count", [2, 12])
def test_lists_that_a_factor_may_be_instead_do_not_hide_it(count: int) -> None:
    """However often they were made: that depends on what was followed before."""
    kinds = "\n".join(f"    if kind == {n}:\n        lora_A = [part{n}]" for n in range(count))
    source = f"""
def merge(weight, kind, lora_down, lora_up, scaling, {", ".join(f"part{n}" for n in range(count))}):
    lora_A = lora_down
{kinds}
    return weight + lora_up @ lora_A.weight * scaling
"""
    assert formula_of(source) == ["scaling"]


def test_what_a_caller_gives_under_a_key_outranks_the_key_whatever_is_made_of_the_sum() -> None:
    source = """
        import torch.nn.functional as F

        def apply_lora(x, weight, item):
            result = F.linear(x, weight)
            ratio = item["alpha"] / item["rank"]
            result += F.linear(x, item["up_weight"] @ item["down_weight"]) * (ratio * item["scale"])
            return result

        def lora_forward(x, weight, down_weight, up_weight, alpha, rank):
            item = {"down_weight": down_weight, "up_weight": up_weight, "alpha": alpha, "rank": rank}
            return apply_lora(x, weight, {**item, "scale": alpha / rank})
    """
    assert formula_of(source) == ["alpha^2 / rank^2"]
