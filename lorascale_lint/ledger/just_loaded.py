"""Alphas that are looked up only if the file was loaded in this very call."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import ALPHA, FACTORS
from lorascale_lint.ledger.entries import KeyRead, Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import key_role_of
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.guards import Guards
from lorascale_lint.provenance.values import NONE, Const, Value, options
from lorascale_lint.provenance.ways import origins

Run = tuple[FunctionInfo | None, tuple[str, ...]]
"""One run of a function: which, and the calls that led there."""


@immutable(frozen=True, slots=True)
class JustLoaded:
    """If the ``flag`` says so, alpha is ``looked_up``, to be handed on with its factors at ``used``."""

    flag: Spot
    looked_up: Spot
    used: Spot


def only_if_just_loaded(ledger: Ledger) -> Iterator[JustLoaded]:
    """``alpha = store.get(key) if just_loaded else None`` beside factors from that store, each flag once."""
    flags = {ask.atom: ask.spot for ask in ledger.asks if ask.how == "truth" and _is_flag(ask.value)}
    seen: set[tuple[str, int]] = set()
    for read in ledger.reads if flags else ():
        flag = next((name for name, _ in read.guards if name in flags), None)
        if flag is None or key_role_of(read.key) != ALPHA or read.how == "in" or read.spot.file.is_test:
            continue
        used = _used(ledger, read, flag) if _has_factors(ledger, read, flag) else None
        place = (flags[flag].file.filename, flags[flag].row)
        if used is not None and place not in seen:
            seen.add(place)
            yield JustLoaded(flags[flag], read.spot, used)


def _has_factors(ledger: Ledger, alpha: KeyRead, flag: str) -> bool:
    """Are factors read from the same store, whatever the flag says?"""
    stores = {way.value for way in options(alpha.container)}  # that of this call, or of an earlier one
    return any(
        not stores.isdisjoint(way.value for way in options(read.container))
        and key_role_of(read.key) in FACTORS
        and not _depends(read.guards, flag)
        for read in ledger.once(_reads).get(_run(alpha.spot), ())
    )


def _used(ledger: Ledger, alpha: KeyRead, flag: str) -> Spot | None:
    """A call that is made in any case, and is given the alpha or None."""
    found = set(origins(alpha.value))  # a local's name may have given it a role
    for use in ledger.once(_uses).get(_run(alpha.spot), ()):
        if not _depends(use.guards, flag):
            for value in use.given.values():
                left_out = any(way.value == NONE for way in options(value))
                if left_out and not found.isdisjoint(origins(value)):
                    return use.spot
    return None


def _reads(ledger: Ledger) -> dict[Run, list[KeyRead]]:
    found: dict[Run, list[KeyRead]] = defaultdict(list)
    for read in ledger.reads:
        found[_run(read.spot)].append(read)
    return found


def _uses(ledger: Ledger) -> dict[Run, list[Use]]:
    found: dict[Run, list[Use]] = defaultdict(list)
    for use in ledger.uses:
        found[_run(use.spot)].append(use)
    return found


def _run(spot: Spot) -> Run:
    return spot.function, spot.chain


def _depends(guards: Guards, flag: str) -> bool:
    return any(name == flag for name, _ in guards)


def _is_flag(value: Value) -> bool:
    """Is the value True on some ways of this call and False on others?"""
    found = {way.value.value for way in options(value) if isinstance(way.value, Const)}
    return found == {True, False}
