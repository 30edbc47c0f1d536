"""Adapters that are decomposed anew to another rank, and what becomes of their configuration."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.operations import CONCATENATES, DECOMPOSITIONS
from lorascale_lint.knowledge.roles import ALPHA, RANK, SCALING, A, B, role_of
from lorascale_lint.ledger.entries import KeyRead, KeyWrite, Use
from lorascale_lint.ledger.fusions import is_read_alpha
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import Look, looks
from lorascale_lint.ledger.numbers import only_symbol, scale_of
from lorascale_lint.ledger.powers import powers_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import is_real_factor, key_role_of
from lorascale_lint.provenance.scale import ONE, Scale
from lorascale_lint.provenance.values import Place, Tensor, Text, Tup, Value, options


@immutable(frozen=True, slots=True)
class Resized:
    """A configuration gets another rank, and keeps its alpha, beside a decomposition or a concatenation."""

    decomposed: Spot
    rank: Spot
    saved: Spot
    joined: bool = False


@immutable(frozen=True, slots=True)
class Recut:
    """Factors out of a decomposition are written at ``factor``, and the file's own alpha at ``alpha``.

    ``to_rank`` if the function is told the rank that the new factors get; ``scaled`` if what was decomposed
    holds the trained scale.
    """

    decomposed: Spot
    factor: Spot
    alpha: Spot
    to_rank: bool
    scaled: bool = False


def recuts(ledger: Ledger) -> Iterator[Recut]:
    """Functions that write both factors of a module anew, out of a decomposition, and copy its alpha."""
    for look in looks(ledger, callees=True):
        cuts = [use for use in look.uses if use.called in DECOMPOSITIONS]
        if not cuts or look.function is None or cuts[0].spot.file.is_test:
            continue
        taken = [value for cut in cuts for value in cut.given.values()]
        scaled = any(map(_is_trained, taken))
        if not scaled and not all(map(_is_unscaled, taken)):
            continue
        sides = {side: [w for w in look.writes if key_role_of(w.key) == side] for side in (A, B, ALPHA)}
        anew = all(sides[side] and not any(is_real_factor(w.value) for w in sides[side]) for side in (A, B))
        copied = [write for write in sides[ALPHA] if is_read_alpha(write.value)]
        if anew and copied and len(copied) == len(sides[ALPHA]):
            told = any(role_of(name, True) == RANK for name in look.function.parameters)
            yield Recut(cuts[0].spot, sides[A][0].spot, copied[0].spot, told, scaled)


def resized(ledger: Ledger) -> Iterator[Resized]:
    """Functions that change an adapter's rank, write it, and know nothing of alpha or of a scale."""
    for look in looks(ledger, callees=True):
        cuts = [use for use in look.uses if use.called in DECOMPOSITIONS or _joins(use)]
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
                    yield Resized(cuts[0].spot, write.spot, saved[0].spot, _joins(cuts[0]))


def _joins(use: Use) -> bool:
    """Does a call put tensors of adapter files side by side?"""
    if use.called not in CONCATENATES:
        return False
    held = [item for value in use.given.values() if isinstance(value, Tup) for item in value.items]
    return any(is_real_factor(item) or getattr(item, "path", "").startswith("file(") for item in held)


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


def _is_trained(value: Value) -> bool:
    scales = [powers_of(o.value.scale) for o in options(value) if isinstance(o.value, Tensor)]
    return bool(scales) and all(scale.is_trained and scale.alpha for scale in scales)


def _is_former(value: Value) -> bool:
    """Is the rank that is written only read from a configuration?"""
    scales = [scale for option in options(value) if (scale := scale_of(option.value)) is not None]
    symbols = [only_symbol(scale) for scale in scales]
    return any(symbol is not None and symbol.role == RANK and "[" in symbol.origin for symbol in symbols)
