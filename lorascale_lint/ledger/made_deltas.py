"""Deltas that are made and handed on, and that no application in sight uses."""

from __future__ import annotations

from collections import defaultdict

from lorascale_lint.ledger.applications import Application, joined, place_of, products
from lorascale_lint.ledger.entries import Apply, KeyWrite, Return
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.provenance.guards import Guards, contradict
from lorascale_lint.provenance.scale import settled
from lorascale_lint.provenance.values import UNKNOWN, Tensor, options

MADE = "made"
"""The kind of such an application: the delta meets its base elsewhere, if at all."""


def made_deltas(ledger: Ledger) -> list[Application]:
    """One for each place where a delta is given back or written under a key, or else made."""
    return ledger.once(_made_deltas)


def _made_deltas(ledger: Ledger) -> list[Application]:
    used = {
        (apply.spot.file.filename, row) for apply in ledger.applies for row in (apply.spot.row, *apply.rows)
    }
    places: dict[tuple[str, int, int, str], list[Apply]] = defaultdict(list)
    handed: list[Return | KeyWrite] = [*ledger.writes, *ledger.returns]
    for entry in handed:
        for option in options(entry.value):
            delta = option.value
            if (
                isinstance(delta, Tensor)
                and delta.kind == "delta"
                and not contradict(entry.guards, option.guards)
            ):
                rows = {(entry.spot.file.filename, row) for row in delta.rows}
                if used.isdisjoint(rows):
                    made = _made(entry, delta, (*entry.guards, *option.guards))
                    places[place_of(made)].append(made)
    told = {(key[0], row) for key, entries in places.items() for entry in entries for row in entry.rows}
    for product in products(ledger):
        here = product.spot.file.filename, product.spot.row
        if product.kind == "delta" and product.scale is not None and here not in used | told:
            made = Apply(
                product.spot, MADE, product.scale, (), UNKNOWN, product.variant, (here[1],), product.layout
            )
            places[place_of(made)].append(made)
    return [joined(entries) for entries in places.values()]


def _made(entry: Return | KeyWrite, delta: Tensor, guards: Guards) -> Apply:
    scale = settled(delta.scale, delta.layout)
    return Apply(
        entry.spot,
        MADE,
        scale,
        guards,
        delta,
        delta.variant,
        delta.rows,
        delta.layout,
        steps=delta.steps,
    )
