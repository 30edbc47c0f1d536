"""Factors that are written with the trained scale in them, beside the alpha that readers divide again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.interfaces import ALPHA_FIELD
from lorascale_lint.knowledge.roles import ALPHA, FACTORS, METADATA_PREFIX, RANK
from lorascale_lint.ledger.entries import KeyWrite
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import Look, looks
from lorascale_lint.ledger.numbers import symbol_of
from lorascale_lint.ledger.powers import powers_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import key_role_of
from lorascale_lint.provenance.guards import contradict
from lorascale_lint.provenance.scale import Scale, Symbol
from lorascale_lint.provenance.values import Tensor, Text, Value, options


@immutable(frozen=True, slots=True, eq=False)
class Baked:
    """The factor at ``factor`` holds ``scale``; ``sure`` if its alpha is the one written at ``alpha``."""

    factor: Spot
    scale: Scale
    alpha: Spot
    sure: bool


def baked(ledger: Ledger) -> Iterator[Baked]:
    """One for each function that writes a factor times alpha / rank, and alpha itself."""
    for look in looks(ledger):
        alphas = _alphas(look)
        for write in look.writes if alphas else ():
            scale = _held(write) if key_role_of(write.key) in FACTORS else None
            beside = alphas.get(write.container, alphas.get(None)) if scale is not None else None
            if scale is None or beside is None or write.spot.file.is_test:
                continue
            origins, entries = beside
            entry = next((e for e in entries if not contradict(e.guards, write.guards)), None)
            if entry is not None:
                inside = {symbol.origin for symbol, _ in scale.powers if symbol.role == ALPHA}
                yield Baked(write.spot, scale, entry.spot, not inside.isdisjoint(origins))
                break


def _alphas(look: Look) -> dict[Value | None, tuple[set[str], list[KeyWrite]]]:
    """Alphas as they were, by the file that they are written to; under None those of its configuration.

    What is computed for the file makes up for the scale, or nobody knows: such a file is left out.
    """
    found: dict[Value | None, list[KeyWrite]] = defaultdict(list)
    for write in look.writes:
        if key_role_of(write.key) == ALPHA and not _only_told(write):
            named = isinstance(write.key, Text) and write.key.literal == ALPHA_FIELD
            found[None if named else write.container].append(write)
    made: dict[Value | None, tuple[set[str], list[KeyWrite]]] = {}
    for place, writes in found.items():
        kept = [symbol for write in writes for symbol in _kept(write)]
        origins = {symbol.origin for symbol in kept if symbol.role == ALPHA}
        plain = all(symbol.role in (ALPHA, RANK) for symbol in kept)
        made[place] = (origins, writes) if origins and plain else (set(), [])
    return made


def _only_told(write: KeyWrite) -> bool:
    """Is it the header's note on the training, which no reader divides?"""
    return isinstance(write.key, Text) and (write.key.literal or "").startswith(METADATA_PREFIX)


def _kept(write: KeyWrite) -> list[Symbol]:
    """What the alpha that is written is, on each way; a symbol without a role for what is more than one."""
    nothing = Symbol("", "")
    return [symbol_of(option.value) or nothing for option in options(write.value)]


def _held(write: KeyWrite) -> Scale | None:
    """The trained scale that the factor holds, whatever the way; also each part of one that is joined."""
    found: list[Scale] = []
    for option in options(write.value):
        if not isinstance(option.value, Tensor) or option.value.kind not in FACTORS:
            return None
        found += option.value.parts or (option.value.scale,)
    if not found or not all(powers_of(scale).is_trained and powers_of(scale).alpha for scale in found):
        return None
    return Scale(powers=tuple(item for item in found[0].powers if item[0].role in (ALPHA, RANK)))
