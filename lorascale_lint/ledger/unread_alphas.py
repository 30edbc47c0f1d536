"""Alphas that a function is given, or takes out of something, and never reads."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import ALPHA
from lorascale_lint.ledger.ends import ends
from lorascale_lint.ledger.kept_sides import folds_of_one_side
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import alphas_of
from lorascale_lint.ledger.powers import HALF, powers_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.scale import Scale


@immutable(frozen=True, slots=True, eq=False)
class Unread:
    """The name of an alpha that nothing reads, and where it comes in."""

    name: str
    spot: Spot


def unread_alpha(ledger: Ledger, function: FunctionInfo | None) -> Unread | None:
    """The first alpha that the function has for nothing."""
    return None if function is None else ledger.once(_unread).get(function)


def _unread(ledger: Ledger) -> dict[FunctionInfo, Unread]:
    found: dict[FunctionInfo, Unread] = {}
    for entry in ledger.unused:
        if entry.role == ALPHA and entry.spot.function is not None:
            found.setdefault(entry.spot.function, Unread(entry.parameter, entry.spot))
    for bind in ledger.binds:
        function = bind.spot.function
        if function is not None and bind.name not in function.names_read and alphas_of(bind.value) - {""}:
            found.setdefault(function, Unread(bind.name, bind.spot))
    return found


def without_alpha(ledger: Ledger) -> Iterator[tuple[Spot, Scale, Unread]]:
    """Factors that are kept and deltas that are given back over the rank, where alpha is had for nothing."""
    kept = [(fold.spot, fold.scale) for fold in folds_of_one_side(ledger)]
    given = [
        (end.spot, end.scale) for found in ends(ledger).values() for end in found if end.kind == "return"
    ]
    for spot, scale in (*kept, *given):
        powers = powers_of(scale)
        lost = not powers.alpha and not powers.scaling and powers.below in (1, HALF)
        unread = unread_alpha(ledger, spot.function)
        if lost and unread is not None and scale.coefficient == 1 and not scale.unknowns():
            yield spot, scale, unread
