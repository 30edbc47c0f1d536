"""Conditions as the ledger keeps them, and what of them is known."""

from __future__ import annotations

import ast

import pytest

from lorascale_lint.ledger.conditions import expression
from lorascale_lint.ledger.ledger import Ledger


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("alpha@3 is None", "alpha is None"),
        ("self.alpha is None", "self.alpha is None"),
        ("a or b@12 is None", "(a or b) is None"),
        ("self.a is None or self.b is None", "self.a is None or self.b is None"),
        ("a is None and b is None@4", "a is None and b is None"),
        ("merged@3", "merged"),
        ("self.a @ self.b > 0", "self.a @ self.b > 0"),
        ("(a @ b).any()@3", "(a @ b).any()"),
    ],
)
def test_the_expression_of_a_condition(name: str, text: str) -> None:
    found = expression(name)
    assert found is not None
    assert ast.unparse(found) == text


def test_loops_have_none() -> None:
    assert expression("loop in row 3") is None


def test_what_was_read_of_a_part_is_not_read_of_the_whole() -> None:
    """What `once` made of a ledger is no more true when another one is added to it."""

    def count(ledger: Ledger) -> int:
        return len(ledger.bounds)

    whole, part = Ledger(), Ledger()
    part.bounds.append("layer.py: merge")
    assert (whole.once(count), part.once(count)) == (0, 1)
    whole.add(part)
    whole.add(part)
    assert whole.once(count) == 2
