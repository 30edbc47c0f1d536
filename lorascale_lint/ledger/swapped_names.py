"""Alphas that have got the name of a rank on their way, and divide what is called alpha."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import RANK, role_of
from lorascale_lint.ledger.entries import Bind, Quotient
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import alpha_of
from lorascale_lint.provenance.scale import STAND_IN


@immutable(frozen=True, slots=True, eq=False)
class Swapped:
    """``bound`` calls an alpha a rank, and ``divided`` divides by it what is called alpha and is a rank."""

    bound: Bind
    divided: Quotient


def swapped_names(ledger: Ledger) -> Iterator[Swapped]:
    """One for each division of a rank, under the name of alpha, by an alpha, under the name of a rank."""
    called = [
        (bind, origin)
        for bind in ledger.binds
        if role_of(bind.name, True) == RANK
        and (origin := alpha_of(bind.value))
        and not bind.spot.file.is_test
    ]
    seen: set[object] = set()
    for quotient in ledger.quotients if called else ():
        above, below = alpha_of(quotient.value), alpha_of(quotient.by)
        if not above.startswith(STAND_IN) or not below or below.startswith(STAND_IN):
            continue
        bound = next((b for b, o in called if o == below and b.spot.function is quotient.spot.function), None)
        if bound is not None and quotient.spot.node not in seen:
            seen.add(quotient.spot.node)
            yield Swapped(bound, quotient)
