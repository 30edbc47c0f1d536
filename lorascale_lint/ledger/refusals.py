"""Adapters whose scale is another than 1, and that code refuses to take."""

from __future__ import annotations

import ast

from lorascale_lint.knowledge.roles import ALPHA, RANK
from lorascale_lint.ledger.entries import Ask
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import symbol_of
from lorascale_lint.ledger.raising import raises, tests_of
from lorascale_lint.linking.definitions import FileInfo
from lorascale_lint.provenance.values import Value, options


def refuses_other_alphas(ledger: Ledger, file: FileInfo) -> bool:
    """Does a function of the file raise where alpha and the rank are not the same?"""
    return file.filename in ledger.once(_refusing)


def _refusing(ledger: Ledger) -> frozenset[str]:
    return frozenset(ask.spot.file.filename for ask in ledger.asks if _compares(ask) and _refuses(ask))


def _compares(ask: Ask) -> bool:
    """Is an alpha compared with a rank, and with nothing else?"""
    if ask.other is None:
        return False
    return {_role(ask.value), _role(ask.other)} == {ALPHA, RANK}


def _role(value: Value) -> str:
    """The role of the number that a value is, whatever the way; twice the rank is no rank."""
    symbols = [symbol_of(option.value) for option in options(value)]
    found = {"" if symbol is None else symbol.role for symbol in symbols}
    return found.pop() if len(found) == 1 else ""


def _refuses(ask: Ask) -> bool:
    """Does the statement of the question raise?"""
    asking = (test for test in tests_of(ask.spot) if not isinstance(test, ast.IfExp))
    first = next(asking, None)
    return first is not None and raises(first)
