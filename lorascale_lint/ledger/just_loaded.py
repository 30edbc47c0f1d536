"""Alphas that are looked up only if the file was loaded in this very call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lorascale_lint.knowledge.roles import ALPHA, FACTORS
from lorascale_lint.ledger.entries import KeyRead, Ledger, Spot, Use
from lorascale_lint.provenance.values import NONE, Alternative, Const, Place, Tensor, Value, options


@dataclass(frozen=True, slots=True)
class JustLoaded:
    """If the ``flag`` says so, alpha is ``looked_up``, to be handed on with its factors at ``used``."""

    flag: Spot
    looked_up: Spot
    used: Spot


def only_if_just_loaded(ledger: Ledger) -> Iterator[JustLoaded]:
    """``alpha = store.get(key) if just_loaded else None`` beside factors from that store, each flag once."""
    flags = {ask.atom: ask.spot for ask in ledger.asks if ask.how == "truth" and _is_flag(ask.value)}
    if not flags:
        return
    reads = {_origin(way.value): read for read in ledger.reads for way in options(read.value)}
    for use in ledger.uses:
        given = [way for value in use.given.values() for way in options(value)]
        factors = [_origin(way.value) for way in given if _role(way) in FACTORS]
        stores = {reads[origin].container for origin in factors if origin in reads}
        for value in use.given.values() if stores and not use.spot.file.is_test else ():
            name, read = _looked_up(value, use, flags, reads)
            if read is not None and read.container in stores:
                yield JustLoaded(flags.pop(name), read.spot, use.spot)


def _looked_up(
    value: Value, use: Use, flags: Mapping[str, Spot], reads: Mapping[str, KeyRead]
) -> tuple[str, KeyRead | None]:
    """The flag under which alone the value is an alpha, and where that is read."""
    empty = [way.guards for way in options(value) if way.value == NONE]
    for way in options(value):
        read = reads.get(_origin(way.value)) if _role(way) == ALPHA else None
        for name, holds in way.guards:
            outside = any((name, holds) not in guards for guards in empty)
            if name in flags and outside and read is not None and (name, holds) not in use.guards:
                return name, read
    return "", None


def _is_flag(value: Value) -> bool:
    """Is the value True on some ways of this call and False on others?"""
    found = {way.value.value for way in options(value) if isinstance(way.value, Const)}
    return found == {True, False}


def _role(way: Alternative) -> str | None:
    value = way.value
    return value.kind if isinstance(value, Tensor) else value.role if isinstance(value, Place) else None


def _origin(value: Value) -> str:
    return value.path if isinstance(value, Place) else value.origin if isinstance(value, Tensor) else "?"
