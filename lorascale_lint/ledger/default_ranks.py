"""Calls that make a layer of a rank of its own, at the scale of the rank that all others have."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import RANK
from lorascale_lint.ledger.entries import Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import scale_of, trained
from lorascale_lint.provenance.scale import Scale
from lorascale_lint.provenance.values import Value, options


@immutable(frozen=True, slots=True, eq=False)
class DefaultRank:
    """``use`` is given a rank that may be ``own``, and ``scale``, which is divided by ``default``."""

    use: Use
    own: str
    default: str
    scale: Scale


def default_ranks(ledger: Ledger) -> Iterator[DefaultRank]:
    """One for each call that is given both."""
    seen: set[int] = set()
    for use in ledger.uses:
        if use.callee is None or use.spot.file.is_test or id(use.spot.node) in seen:
            continue
        ranks = [origins for value in use.given.values() if len(origins := _ranks(value)) > 1]
        for scale in _scales(use) if ranks else ():
            below = {s.origin for s, power in scale.powers if s.role == RANK and power < 0}
            for origins in ranks:
                own = [origin for origin in origins if origin not in below]
                if below and below < set(origins) and own and id(use.spot.node) not in seen:
                    seen.add(id(use.spot.node))
                    yield DefaultRank(use, own[0], min(below), scale)


def _ranks(value: Value) -> list[str]:
    """The origins of a rank that is one or the other; none where an alternative is no rank."""
    found = []
    for option in options(value):
        scale = scale_of(option.value)
        symbol = scale.powers[0][0] if scale is not None and len(scale.powers) == 1 else None
        if symbol is None or symbol.role != RANK or not symbol.origin:
            return []
        found.append(symbol.origin)
    return list(dict.fromkeys(found))


def _scales(use: Use) -> Iterator[Scale]:
    """Trained scales that are given, each the only value of its argument."""
    for value in use.given.values():
        scale = scale_of(value)
        if scale is not None and trained(scale):
            yield scale
