"""Adapters that are decomposed anew to another rank, and what becomes of their configuration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.knowledge.operations import DECOMPOSITIONS
from lorascale_lint.knowledge.roles import ALPHA, RANK, SCALING
from lorascale_lint.ledger.entries import KeyRead, KeyWrite
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import Look, looks
from lorascale_lint.ledger.numbers import only_symbol, scale_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import key_role_of
from lorascale_lint.provenance.scale import ONE, Scale
from lorascale_lint.provenance.values import Place, Tensor, Text, Value, options


@dataclass(frozen=True, slots=True)
class Resized:
    """A configuration gets another rank, and keeps its alpha, beside a decomposition."""

    decomposed: Spot
    rank: Spot
    saved: Spot


def resized(ledger: Ledger) -> Iterator[Resized]:
    """Functions that decompose an adapter anew, write its rank, and know nothing of alpha or of a scale."""
    for look in looks(ledger, callees=True):
        cuts = [use for use in look.uses if use.name.rpartition(".")[2] in DECOMPOSITIONS]
        if not cuts or cuts[0].spot.file.is_test or _knows_alpha(look):
            continue
        if not all(_is_unscaled(value) for cut in cuts for value in cut.given.values()):
            continue
        for write in look.writes:
            plain = isinstance(write.key, Text) and write.key.literal == "r"
            if plain and isinstance(write.container, Place) and not _is_former(write.value):
                later = [use for use in look.uses if use.spot.row > write.spot.row]
                saved = [use for use in later if write.container in use.given.values()]
                if saved:
                    yield Resized(cuts[0].spot, write.spot, saved[0].spot)


def _knows_alpha(look: Look) -> bool:
    entries: list[KeyRead | KeyWrite] = [*look.reads, *look.writes]
    return any(key_role_of(entry.key) == ALPHA or _has_scale(entry.value) for entry in entries)


def _has_scale(value: Value) -> bool:
    return any(
        symbol.role in (ALPHA, SCALING)
        for option in options(value)
        for symbol, _ in _scale(option.value).powers
    )


def _scale(value: Value) -> Scale:
    return value.scale if isinstance(value, Tensor) else scale_of(value) or ONE


def _is_unscaled(value: Value) -> bool:
    return all(not isinstance(o.value, Tensor) or o.value.scale == ONE for o in options(value))


def _is_former(value: Value) -> bool:
    """Is the rank that is written only read from a configuration?"""
    scales = [scale for option in options(value) if (scale := scale_of(option.value)) is not None]
    symbols = [only_symbol(scale) for scale in scales]
    return any(symbol is not None and symbol.role == RANK and "[" in symbol.origin for symbol in symbols)
