"""A parameter called `weight` that is used as one number is a strength, and a matrix stays one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from lorascale_lint.linking.numbers_by_use import numbers_by_use
from tests.projects import lint_files


def numbers(body: str, *names: str) -> set[str]:
    """Which of ``names`` are numbers in a function with this body."""
    nodes = list(ast.walk(ast.parse(body)))
    return set(numbers_by_use(nodes, frozenset(names)))


@pytest.mark.parametrize(
    "body",
    [
        "if weight <= 0:\n    pass\nadd(delta, weight)",
        "p.data += weight * alpha / a.shape[0] * (b @ a)",
        "p.data.add_(b @ a, alpha=weight)",
        "weight = weight or 1.0\np += s * weight",
        "w = 1.0 if weight is None else weight",
        "mix(delta, 1 - weight)",
    ],
)
def test_what_is_compared_or_scales_is_a_number(body: str) -> None:
    """Nothing but a number is compared with one, or multiplied into alpha / rank."""
    assert numbers(body, "weight") == {"weight"}


@pytest.mark.parametrize(
    "body",
    [
        "weight + weight * scale * (b @ a)",
        "linear(x, weight)",
        "weight * (b @ a)",
        "weight.shape[0] <= 0",
        "if weight is None:\n    pass",
        "weight[:2] * scale",
    ],
)
def test_a_matrix_is_none(body: str) -> None:
    """A weight of the model is added to, cut, asked for its shape, or multiplied by a matrix alone (HiRA)."""
    assert numbers(body, "weight") == set()


def test_a_weight_that_is_handed_on_is_known_where_it_arrives(tmp_path: Path) -> None:
    """LS109: what a helper takes as one number is the strength of the merge; the unmerge leaves it out."""
    found = lint_files(
        tmp_path,
        {
            "fuser.py": """\
                class Fuser:
                    def __init__(self, model, table):
                        self.model = model
                        self.table = table  # name -> (down, up, alpha) of a LoRA

                    def _delta(self, name, weight=1.0):
                        down, up, alpha = self.table[name]
                        return weight * (alpha / down.shape[0]) * (up @ down)

                    def fuse(self, weight):
                        for name in self.table:
                            self.model.get_parameter(name).add_(self._delta(name, weight))

                    def unfuse(self):
                        for name in self.table:
                            self.model.get_parameter(name).sub_(self._delta(name))
            """
        },
        codes=["LS109", "LS221"],
    )
    assert [finding.code for finding in found] == ["LS109"]


def test_a_number_of_the_constructor_is_squared(tmp_path: Path) -> None:
    """LS118: a field that the constructor takes as one number multiplies in two methods."""
    found = lint_files(
        tmp_path,
        {
            "patch.py": """\
                class LoraPatch:
                    def __init__(self, a, b, alpha, gain=1.0):
                        self.a, self.b, self.alpha, self.gain = a, b, alpha, gain

                    def change(self):
                        return self.gain * (self.alpha / self.a.shape[0]) * (self.b @ self.a)

                    def merge_into(self, weight):
                        return weight + self.gain * self.change()
            """
        },
        codes=["LS118"],
    )
    assert [finding.code for finding in found] == ["LS118"]
