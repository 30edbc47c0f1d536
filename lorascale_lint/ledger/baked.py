"""Factors that are written with the trained scale in them, beside the alpha that readers divide again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.knowledge.interfaces import METADATA_PREFIX
from lorascale_lint.knowledge.roles import ALPHA, FACTORS, RANK
from lorascale_lint.ledger.entries import KeyWrite
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import looks
from lorascale_lint.ledger.numbers import symbol_of
from lorascale_lint.ledger.powers import powers_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import key_role_of
from lorascale_lint.provenance.scale import Scale, Symbol
from lorascale_lint.provenance.values import Tensor, Text, contradict, options


@dataclass(frozen=True, slots=True, eq=False)
class Baked:
    """The factor at ``factor`` holds ``scale``; ``sure`` if its alpha is the one written at ``alpha``."""

    factor: Spot
    scale: Scale
    alpha: Spot
    sure: bool


def baked(ledger: Ledger) -> Iterator[Baked]:
    """One for each function that writes a factor times alpha / rank, and alpha itself."""
    for look in looks(ledger):
        alphas = [write for write in look.writes if key_role_of(write.key) == ALPHA and not _only_told(write)]
        for write in look.writes if alphas else ():
            scale = _held(write) if key_role_of(write.key) in FACTORS else None
            beside = [item for item in alphas if _goes_with(item, write)]
            kept = [symbol for item in beside for symbol in _kept(item)]
            if scale is None or write.spot.file.is_test or not all(s.role in (ALPHA, RANK) for s in kept):
                continue  # what is computed for the file makes up for the scale, or nobody knows
            origins = {symbol.origin for symbol in kept if symbol.role == ALPHA}
            if origins:
                inside = {symbol.origin for symbol, _ in scale.powers if symbol.role == ALPHA}
                yield Baked(write.spot, scale, beside[0].spot, not inside.isdisjoint(origins))
                break


def _goes_with(alpha: KeyWrite, factor: KeyWrite) -> bool:
    """Is the alpha an entry of the same file, or of the configuration that is written beside it?"""
    if contradict(alpha.guards, factor.guards):
        return False
    key = alpha.key.literal if isinstance(alpha.key, Text) else None
    return alpha.container == factor.container or key == "lora_alpha"


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
