"""Loaders that read the alpha of a file, lose it, and give the rank in its place."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import ALPHA, RANK, role_of
from lorascale_lint.ledger.entries import Use
from lorascale_lint.ledger.fates import Fate, fates, is_named
from lorascale_lint.ledger.key_traffic import READS
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import is_each_way, number_origins
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.swapped import swapped
from lorascale_lint.provenance.scale import STAND_IN, Scale
from lorascale_lint.provenance.values import Value


@immutable(frozen=True, slots=True, eq=False)
class RankForAlpha:
    """``use`` is given the rank as ``parameter``; ``read`` is where alpha is read, which goes nowhere.

    ``through`` is the call that hands it back, if one does.
    """

    use: Use
    parameter: str
    read: Spot
    through: Spot | None


def ranks_for_alpha(ledger: Ledger) -> Iterator[RankForAlpha]:
    """Seen in trials on files that state an alpha for each module."""
    seen: set[object] = set()
    told = {found.spot.function for found in swapped(ledger)}  # that is another rule's
    for fate in fates(ledger):
        if not fate.trial.sample.states_alpha or not is_named(fate) or fate.alpha_goes_on:
            continue
        read = _taken(fate)
        for use in fate.ledger.uses if read is not None else ():
            if use.callee is None or use.name.endswith(".__init__") or use.spot.node in seen:
                continue
            if use.spot.function in told:
                continue
            names = [n for n, v in use.given.items() if role_of(n, True) == ALPHA and _is_rank(v)]
            if names and read is not None:
                seen.add(use.spot.node)
                yield RankForAlpha(use, names[0], read, _through(fate, use))


def _taken(fate: Fate) -> Spot | None:
    """Where alpha is read, or put into a table that is made here."""
    for read in fate.ledger.reads:
        if read.how in READS and fate.is_alpha(read.value):
            return read.spot
    return next((write.spot for write in fate.ledger.writes if fate.is_alpha(write.value)), None)


def _is_rank(value: Value) -> bool:
    """Is it the rank of the file's factors on every way, and nothing that stands in for a missing alpha?"""
    return is_each_way(value, Scale.of(RANK)) and all(
        "adapter[" in origin and not origin.startswith(STAND_IN) for origin in number_origins(value)
    )


def _through(fate: Fate, use: Use) -> Spot | None:
    for other in fate.ledger.uses:
        same = other.spot.function is use.spot.function and other.spot.chain == use.spot.chain
        if other.callee is not None and same and fate.holds(other.result, fate.alpha):
            return other.spot
    return None
