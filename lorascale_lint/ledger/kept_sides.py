"""Factors that a function scales and keeps, where nothing else of the adapter takes a part of the scale."""

from __future__ import annotations

from collections import defaultdict

from lorascale_lint.knowledge.roles import ALPHA
from lorascale_lint.ledger.entries import Fold
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.tables import key_role_of


def folds_of_one_side(ledger: Ledger) -> list[Fold]:
    """Folds that bring a whole scale: where both sides are scaled, or alpha is written, each has its part."""
    sides: dict[object, set[str]] = defaultdict(set)
    for fold in ledger.folds:
        sides[fold.spot.function].add(fold.side)
    writers = {write.spot.function for write in ledger.writes if key_role_of(write.key) == ALPHA}
    return [
        fold
        for fold in ledger.folds
        if len(sides[fold.spot.function]) == 1 and fold.spot.function not in writers
    ]
