"""Files whose factors go through one function, while their alpha is read by another that gets them too."""

from __future__ import annotations

from lorascale_lint.knowledge.roles import ALPHA
from lorascale_lint.ledger.entries import Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import ByFunction, calls_of
from lorascale_lint.ledger.tables import key_role_of
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.values import Place, Ref


def alpha_is_read_beside(ledger: Ledger, function: FunctionInfo | None) -> bool:
    """Does each caller give the same file to a function that gives back what it makes of the alphas?"""
    if function is None:
        return False
    calls = [use for use in calls_of(ledger, function) if not use.spot.file.is_test]
    return bool(calls) and all(_is_read(ledger, use) for use in calls)


def _is_read(ledger: Ledger, call: Use) -> bool:
    given = [value for value in call.given.values() if isinstance(value, Place | Ref)]
    beside = ledger.once(ByFunction).uses.get(call.spot.function, ())
    readers = (use.callee for use in beside if use.spot.chain == call.spot.chain and _gives(use, given))
    return any(
        isinstance(reader, FunctionInfo) and reader is not call.callee and _reads_alpha(ledger, reader)
        for reader in readers
    )


def _gives(use: Use, values: list[Place | Ref]) -> bool:
    return any(item in values for item in use.given.values())


def _reads_alpha(ledger: Ledger, function: FunctionInfo) -> bool:
    """Is an alpha looked up in it, and does it give something back?"""
    gives = any(item.spot.function is function for item in ledger.returns)
    return gives and any(
        read.spot.function is function and key_role_of(read.key) == ALPHA for read in ledger.reads
    )
