"""How a scale came together: the places where numbers were multiplied on, kept beside the value."""

from __future__ import annotations

import ast
from pathlib import Path
from textwrap import dedent

from lorascale_lint.examination import examine_paths
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.provenance.values import Multiplied

LAYER = """
class LoRALinear:
    def __init__(self, base, lora_A, lora_B, rank, lora_alpha):
        self.base, self.lora_A, self.lora_B = base, lora_A, lora_B
        self.scaling = lora_alpha / rank

    def delta(self):
        return self.lora_B @ self.lora_A * self.scaling

    def merge(self, strength):
        self.base.weight.data.add_(self.delta(), alpha=strength)
"""


def ledger_of(folder: Path, source: str) -> Ledger:
    """The ledger of one file."""
    path = folder / "lora_layer.py"
    path.write_text(dedent(source))
    return examine_paths([path], [])[0]


def texts(steps: tuple[Multiplied, ...]) -> list[str]:
    """The numbers as they stand in the code, each with its row."""
    return [f"{step.spot.row}: {ast.unparse(step.number)}" for step in steps if step.number is not None]


def test_an_application_tells_where_each_number_came_in(tmp_path: Path) -> None:
    (applied,) = ledger_of(tmp_path, LAYER).applies
    assert texts(applied.steps) == ["8: self.scaling", "11: strength"]


def test_a_number_tells_how_it_was_made(tmp_path: Path) -> None:
    (applied,) = ledger_of(tmp_path, LAYER).applies
    made = applied.steps[0].by
    assert texts(made.steps) == ["5: lora_alpha", "5: rank"]  # type: ignore[attr-defined]


def test_both_factors_of_a_product_keep_their_numbers(tmp_path: Path) -> None:
    source = """
    def merge_lora(weight, lora_A, lora_B, alpha, rank, strength):
        up = lora_B * strength
        return weight + up @ (lora_A / rank) * alpha
    """
    (applied,) = ledger_of(tmp_path, source).applies
    assert texts(applied.steps) == ["3: strength", "4: rank", "4: alpha"]


def test_a_multiplication_that_is_left_out_for_one_changes_nothing(tmp_path: Path) -> None:
    source = """
    def merge_lora(weight, lora_A, lora_B, alpha, rank):
        scale = alpha / rank
        delta = lora_B @ lora_A
        if scale != 1:
            delta = delta * scale
        return weight + delta
    """
    (applied,) = ledger_of(tmp_path, source).applies
    assert applied.scale.formula() == "alpha / rank"


def test_a_parameter_beside_a_factor_is_a_number_whatever_it_is_called(tmp_path: Path) -> None:
    source = """
    def merge_lora(weight, layer, weight_a):
        up = layer.lora_up.weight * weight_a
        return weight + up @ layer.lora_down.weight
    """
    (applied,) = ledger_of(tmp_path, source).applies
    assert applied.scale.formula() == "strength"


def test_a_sum_of_numbers_keeps_its_terms(tmp_path: Path) -> None:
    source = """
    def lora_scale(strength):
        return strength - 1
    """
    (returned,) = ledger_of(tmp_path, source).returns
    left, right = returned.value.terms  # type: ignore[attr-defined]
    assert (left.path, right.scale.constant) == ("strength", 1)
    assert returned.value.difference  # type: ignore[attr-defined]


def test_rows_outlive_the_heap(tmp_path: Path) -> None:
    source = """
    def load_lora(tensors, modules, name):
        modules[name].adapters["default"] = [tensors[name + ".lora_A.weight"], tensors[name + ".alpha"]]
    """
    (write,) = ledger_of(tmp_path, source).writes
    assert len(write.value.items) == 2  # type: ignore[attr-defined]
