"""Scalings of a library's layers that a function multiplies for a while, and what becomes of them."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.inverses import RESCALINGS, Rescaling
from lorascale_lint.ledger.entries import Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import ByFunction
from lorascale_lint.provenance.guards import contradict
from lorascale_lint.provenance.values import NONE, Value, options


@immutable(frozen=True, slots=True, eq=False)
class NotUndone:
    """``done`` multiplies the scaling; ``undone`` should divide it again, and does not.

    ``how``: again (it multiplies once more), empty (it is not told by what), other (by another number).
    """

    done: Use
    undone: Use
    inverse: str
    how: str


def not_undone(ledger: Ledger) -> Iterator[NotUndone]:
    """One for each function that calls such a pair, or the same call twice."""
    for function, uses in ledger.once(ByFunction).uses.items():
        own = [use for use in uses if use.callee is None and not use.spot.chain and not use.spot.file.is_test]
        for pair in RESCALINGS if function is not None else ():
            done = [use for use in own if use.called == pair.call]
            back = [use for use in own if use.called == pair.inverse]
            found = _pair(pair, done, back)
            if found is not None:
                yield found
                break


def _pair(pair: Rescaling, done: list[Use], back: list[Use]) -> NotUndone | None:
    for first in done:
        number = _number(pair, first)
        if number is None:
            continue
        later = [use for use in done if use.spot.row > first.spot.row]
        again = [
            use
            for use in later
            if _number(pair, use) == number and _receiver(pair, use) == _receiver(pair, first)
        ]
        if again and not back and not contradict(first.guards, again[0].guards):
            return NotUndone(first, again[0], pair.inverse, "again")
        for undo in back:
            given = _number(pair, undo)
            if undo.spot.row < first.spot.row:
                continue
            if given in (None, NONE) and pair.needs_number:
                return NotUndone(first, undo, pair.inverse, "empty")
            if given in (None, NONE) or not all(_number(pair, use) == number for use in done):
                continue
            if _numbers(given).isdisjoint(_numbers(number)):  # None is tested for on one side only
                return NotUndone(first, undo, pair.inverse, "other")
    return None


def _number(pair: Rescaling, use: Use) -> Value | None:
    return use.given.get(pair.keyword, use.given.get(str(pair.position)))


def _numbers(value: Value | None) -> set[Value]:
    return set() if value is None else {o.value for o in options(value) if o.value != NONE}


def _receiver(pair: Rescaling, use: Use) -> object:
    """What is rescaled: the object, or the first argument."""
    return use.given.get("0", use.given.get("model")) if pair.position else use.name
