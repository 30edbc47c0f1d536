"""Scales of deltas that a loop multiplies on from round to round, where each module was to get its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.knowledge.roles import ALPHA, RANK
from lorascale_lint.ledger.entries import Apply, Bind, Fold
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import scale_of
from lorascale_lint.provenance.scale import LEFT, Scale
from lorascale_lint.provenance.values import options


@dataclass(frozen=True, slots=True, eq=False)
class Growing:
    """The delta of ``used`` has ``first`` in one round of the loop and ``next`` in the round after it.

    ``made`` is where the number is multiplied, if it has a name of LoRA code.
    """

    used: Apply | Fold
    first: Scale
    next: Scale
    made: Bind | None
    is_sure: bool
    """Is what multiplies another number for each module, and no decay from step to step?"""


def growing(ledger: Ledger) -> Iterator[Growing]:
    """One for each place whose scale holds, in each later round, more than in the first."""
    places: dict[tuple[int, tuple[str, ...]], list[Apply | Fold]] = defaultdict(list)
    uses: list[Apply | Fold] = [*ledger.applies, *ledger.folds]
    for entry in uses:
        if not entry.spot.file.is_test:
            places[id(entry.spot.node), entry.spot.chain].append(entry)
    seen: set[int] = set()
    for (node, _), entries in places.items():
        grown = [entry for entry in entries if _is_twice(entry.scale)]
        firsts = [entry.scale for entry in entries if not entry.scale.is_left]
        if node not in seen and grown and firsts:
            seen.add(node)
            used, first = grown[0], firsts[0]
            yield Growing(used, first, used.scale, _made(ledger, used), _is_of_a_module(first))


def _is_twice(scale: Scale) -> bool:
    """Does a number multiply, and beside it what the round before had for it?"""
    left = {
        (symbol.role, symbol.origin.partition(": ")[2], power > 0)
        for symbol, power in scale.powers
        if symbol.origin.startswith(LEFT)
    }
    return any((symbol.role, symbol.origin, power > 0) in left for symbol, power in scale.powers)


def _made(ledger: Ledger, used: Apply | Fold) -> Bind | None:
    """Where the loop multiplies what the round before has left."""
    for bind in ledger.binds:
        here = bind.spot.function is used.spot.function and bind.spot.row <= used.spot.row
        if here and bind.spot.chain == used.spot.chain:
            for option in options(bind.value):
                scale = scale_of(option.value)
                held = [] if scale is None else [symbol.origin.startswith(LEFT) for symbol, _ in scale.powers]
                if any(held) and not all(held):
                    return bind
    return None


def _is_of_a_module(multiplied: Scale) -> bool:
    return any(symbol.role in (ALPHA, RANK) or "[" in symbol.origin for symbol, _ in multiplied.powers)
