"""Strengths that a method divides out of a factor, and whether the new one is put in."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import STRENGTHS, A, B
from lorascale_lint.ledger.entries import Store
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import ByFunction
from lorascale_lint.ledger.numbers import only_symbol, scale_of
from lorascale_lint.linking.definitions import ClassInfo, FunctionInfo
from lorascale_lint.provenance.values import Multiplied, Ref, Tensor, options


@immutable(frozen=True, slots=True, eq=False)
class TakenOut:
    """``folded`` puts a strength into a factor; ``out`` takes it out where ``stored`` sets another one."""

    folded: Multiplied
    out: Multiplied
    stored: Store


def taken_out(ledger: Ledger) -> Iterator[TakenOut]:
    """Methods that divide a factor by the old strength, keep a new one, and multiply nothing by it."""
    steps = [
        step
        for step in ledger.multiplied
        if not step.spot.chain
        and not step.spot.file.is_test
        and isinstance(step.before, Tensor)
        and step.before.kind in (A, B, "delta")
    ]
    seen: set[object] = set()
    for out in steps:
        function, inverse = out.spot.function, out.scale.inverse()
        symbol = None if inverse is None else only_symbol(inverse)
        if function is None or function in seen or symbol is None or symbol.role not in STRENGTHS:
            continue
        stores = ledger.once(ByFunction).stores.get(function, ())
        stored = next((s for s in stores if _sets(s, out, symbol.origin)), None)
        again = any(_is_in(step, function) and _multiplies(step) for step in ledger.multiplied)
        folded = next((step for step in steps if _folds(step, out)), None)
        if stored is not None and folded is not None and not again:
            seen.add(function)
            yield TakenOut(folded, out, stored)


def _sets(store: Store, out: Multiplied, origin: str) -> bool:
    """Does the same method set the field that the strength was read from, behind the division?"""
    own = isinstance(store.owner, Ref) and not store.spot.chain
    field = origin.partition("=")[0].rpartition(".")[2]
    read = any(isinstance(store.owner, Ref) and name == store.field for name in (field, _attribute(out)))
    return own and read and store.spot.row > out.spot.row and not _is_literal(store)


def _is_literal(store: Store) -> bool:
    """Is the strength put back to a literal, as it is where nothing is folded in any more?"""
    scales = [scale_of(option.value) for option in options(store.value)]
    return any(scale is None or scale.constant is not None for scale in scales)


def _is_in(step: Multiplied, function: FunctionInfo) -> bool:
    """Does it happen in the function, or in what it calls?"""
    return step.spot.function is function or not function.steps.isdisjoint(step.spot.chain)


def _attribute(step: Multiplied) -> str:
    return getattr(step.number, "attr", "")


def _multiplies(step: Multiplied) -> bool:
    return any(symbol.role in STRENGTHS and power > 0 for symbol, power in step.scale.powers)


def _folds(step: Multiplied, out: Multiplied) -> bool:
    """Does another method of the class put a strength into the same factor?"""
    one, two = _owner(step), _owner(out)
    side = getattr(step.before, "kind", "") == getattr(out.before, "kind", "")
    other = step.spot.function is not out.spot.function
    return one is not None and one is two and side and other and _multiplies(step)


def _owner(step: Multiplied) -> ClassInfo | None:
    return step.spot.function.owner if step.spot.function is not None else None
