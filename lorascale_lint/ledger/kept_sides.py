"""Factors that a function scales and keeps, where nothing else of the adapter takes a part of the scale."""

from __future__ import annotations

from collections import defaultdict

from lorascale_lint.immutable import replace
from lorascale_lint.knowledge.roles import ALPHA
from lorascale_lint.ledger.entries import Fold
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.tables import key_role_of
from lorascale_lint.provenance.scale import ONE


def folds_of_one_side(ledger: Ledger) -> list[Fold]:
    """Folds that bring a whole scale: where both sides are scaled, or alpha is written, each has its part."""
    sides: dict[object, set[str]] = defaultdict(set)
    for fold in ledger.folds:
        sides[_look(fold)].add(fold.side)
    writers = {write.spot.function for write in ledger.writes if key_role_of(write.key) == ALPHA}
    return [
        _of_one_round(fold)
        for fold in ledger.folds
        if len(sides[_look(fold)]) == 1 and fold.spot.function not in writers
    ]


def _look(fold: Fold) -> tuple[object, ...]:
    """The function as one caller, or none, leads there."""
    return (fold.spot.function, *fold.spot.chain)


def _of_one_round(fold: Fold) -> Fold:
    """The fold without what a loop, or another call, multiplied at the same places before."""
    steps = tuple({id(step.spot.node): step for step in fold.steps}.values())
    if len(steps) == len(fold.steps):
        return fold
    scale = ONE
    for step in steps:
        scale = scale * step.scale
    return replace(fold, scale=scale, steps=steps)
