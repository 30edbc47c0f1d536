"""Alphas of one module of a file that are written as the alpha of a whole adapter."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.interfaces import ALPHAS_FIELD, CONFIG_CLASSES
from lorascale_lint.knowledge.roles import ALPHA, role_of
from lorascale_lint.ledger.entries import argument_of
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.left_overs import compared_alphas
from lorascale_lint.ledger.numbers import alpha_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import is_written, literal_of, tables
from lorascale_lint.provenance.values import Value


@immutable(frozen=True, slots=True, eq=False)
class SettledByOne:
    """``read`` is where the alpha of a module is read, and ``spot`` where it becomes the one of all."""

    spot: Spot
    read: Spot


def settled_by_one(ledger: Ledger) -> Iterator[SettledByOne]:
    """One for each setting."""
    reads = {alpha_of(read.value): read.spot for read in reversed(ledger.reads) if alpha_of(read.value)}
    compared = compared_alphas(ledger)
    seen: set[object] = set()
    for spot, value in _settings(ledger):
        origin = alpha_of(value)
        one = origin.startswith("file(") and ("{" in origin or "[*]" in origin)
        if one and origin not in compared and spot.node not in seen and not spot.file.is_test:
            seen.add(spot.node)
            yield SettledByOne(spot, reads.get(origin, spot))


def _settings(ledger: Ledger) -> Iterator[tuple[Spot, Value]]:
    """Alphas of whole adapters: in configurations that are made, and in tables that are written."""
    for use in ledger.uses:
        if use.called in CONFIG_CLASSES and ALPHAS_FIELD not in use.given and not use.hidden:
            for name, value in use.given.items():
                if role_of(name, True) == ALPHA:
                    yield argument_of(use, name) or use.spot, value
    for table in tables(ledger):
        names = [literal_of(write.key) for write in table.writes]
        if ALPHAS_FIELD not in names and is_written(ledger, table):
            for write, name in zip(table.writes, names, strict=True):
                if name.isidentifier() and role_of(name, True) == ALPHA:
                    yield write.spot, write.value
