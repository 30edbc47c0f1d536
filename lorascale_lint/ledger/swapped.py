"""Alpha and rank in each other's place: slots of a row that are unpacked, arguments of a call."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import ALPHA, RANK, role_of
from lorascale_lint.ledger.entries import Bind
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import symbol_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.provenance.scale import STAND_IN
from lorascale_lint.provenance.values import Value, options


@immutable(frozen=True, slots=True, eq=False)
class Swapped:
    """``name`` gets a rank at ``spot``, and ``other`` the alpha that stands beside it."""

    spot: Spot
    name: str
    other: str
    is_call: bool


def swapped(ledger: Ledger) -> list[Swapped]:
    """One for each row that is unpacked, and each call, with an alpha that nothing takes as one."""
    return ledger.once(_swapped)


def _swapped(ledger: Ledger) -> list[Swapped]:
    made = []
    seen: set[tuple[str, int]] = set()
    for found in (*_unpacked(ledger), *_given(ledger)):
        place = (found.spot.file.filename, found.spot.row)
        if place not in seen and not found.spot.file.is_test:
            seen.add(place)
            made.append(found)
    return made


def _unpacked(ledger: Ledger) -> Iterator[Swapped]:
    rows: dict[tuple[str, int, tuple[str, ...]], dict[str, Bind]] = defaultdict(dict)
    for bind in ledger.binds:
        rows[bind.spot.file.filename, bind.spot.row, bind.spot.chain][bind.name] = bind
    for binds in rows.values():
        names = _exchanged({name: bind.value for name, bind in binds.items()})
        if names is not None:
            yield Swapped(binds[names[0]].spot, *names, False)


def _given(ledger: Ledger) -> Iterator[Swapped]:
    for use in ledger.uses:
        names = _exchanged(use.given) if len(use.given) > 1 else None
        if names is not None:
            yield Swapped(use.spot, *names, True)


def _exchanged(values: Mapping[str, Value]) -> tuple[str, str] | None:
    """The name of an alpha that is a rank, and that of another number that is an alpha; none may be right."""
    roles = {name: role_of(name, True) for name in values}
    alphas = [name for name, value in values.items() if _is(value, ALPHA)]
    ranks = [name for name, value in values.items() if roles[name] == ALPHA and _is(value, RANK)]
    if len(alphas) == len(ranks) == 1 and roles[alphas[0]] in (None, RANK):
        return ranks[0], alphas[0]
    return None


def _is(value: Value, role: str) -> bool:
    """Is it such a number on each way, or an alpha for which a rank stands in?"""
    symbols = [symbol_of(option.value) for option in options(value)]
    known = [
        symbol.role for symbol in symbols if symbol is not None and not symbol.origin.startswith(STAND_IN)
    ]
    stand_ins = sum(symbol is not None and symbol.origin.startswith(STAND_IN) for symbol in symbols)
    if role == RANK:  # which is taken for an alpha because of the name that it gets
        return len(known) + stand_ins == len(symbols) and set(known) <= {RANK}
    return ALPHA in known and len(known) + stand_ins == len(symbols) and set(known) <= {ALPHA, RANK}
