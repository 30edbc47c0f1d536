"""Alphas of one module of an adapter that are used in a loop over others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.operations import KEEPERS
from lorascale_lint.knowledge.roles import ALPHA, FACTORS, RANK, role_of
from lorascale_lint.ledger.entries import Bind, FieldRead, KeyRead, KeyWrite, Store, Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import only_symbol, scale_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import ClassInfo, FunctionInfo
from lorascale_lint.provenance.guards import Guards
from lorascale_lint.provenance.marks import LOOP, ROUND
from lorascale_lint.provenance.scale import COUNTED, LENGTH, ONE, STAND_IN, Scale
from lorascale_lint.provenance.values import NONE, Multiplied, Place, Tensor, Text, Tup, Value, options

Loops = frozenset[str]


@immutable(frozen=True, slots=True)
class LeftOver:
    """An alpha that was taken at ``taken`` and meets tensors of other modules at ``used``.

    ``asked_for`` if it was looked up under the key of a module, and not found among all keys; ``handed`` if
    layers are given it one by one, as the alpha of each.
    """

    taken: Spot
    used: Spot
    origin: str
    asked_for: bool
    handed: bool


@dataclass(slots=True)
class _Alpha:
    """Where a function takes the alpha of one origin, and in which loops; where it keeps it for later."""

    taken: list[tuple[Spot, Guards, bool]] = field(default_factory=list)
    kept: list[Loops] = field(default_factory=list)


def left_overs(ledger: Ledger) -> list[LeftOver]:
    """One for each place where an alpha is taken, in the order in which they are used."""
    found: dict[tuple[str, int], LeftOver] = {}
    alphas, compared = _alphas(ledger), compared_alphas(ledger)
    uses = [(use, False) for use in _uses(ledger)] + [(use, True) for use in _handed(ledger)]
    for (spot, scale, guards), handed in uses:
        loops = loops_of(guards)
        if not loops or spot.chain or spot.file.is_test:
            continue
        for symbol, _ in scale.powers:
            if symbol.role != ALPHA or symbol.origin.startswith(STAND_IN):
                continue
            alpha = alphas.get(_key(spot, symbol.origin))
            if alpha is None or not alpha.taken or symbol.origin in compared:
                continue
            if any(_is_at_hand(inside, guards) for _, inside, _ in alpha.taken):
                continue
            taken, inside, asked_for = alpha.taken[0]
            own = loops_of(inside)
            if taken.row > spot.row:
                continue
            if (own or _is_of_a_walk(symbol.origin)) and not any(own <= kept for kept in alpha.kept):
                key = (taken.file.filename, taken.row)
                found.setdefault(key, LeftOver(taken, spot, symbol.origin, asked_for, handed))
    return list(found.values())


def loops_of(guards: Guards, kind: str = LOOP) -> Loops:
    """The loops that are running."""
    return frozenset(name for name, holds in guards if holds and name.startswith(kind))


def _is_at_hand(taken: Guards, used: Guards) -> bool:
    """Is the alpha taken in a loop, or in a round over known items, that still runs where it is used?"""
    own, rounds = loops_of(taken), loops_of(taken, ROUND)
    return bool(own or rounds) and own <= loops_of(used) and (bool(own) or rounds <= loops_of(used, ROUND))


def _is_of_a_walk(origin: str) -> bool:
    """Is this an entry under one of all keys, or under one element of a list?"""
    return "('key of'" in origin or "[*]}" in origin


def _alphas(ledger: Ledger) -> dict[tuple[str, FunctionInfo | None, str], _Alpha]:
    found: dict[tuple[str, FunctionInfo | None, str], _Alpha] = defaultdict(_Alpha)
    held = _held(ledger)
    entries: list[KeyRead | FieldRead | Bind] = [*ledger.reads, *ledger.field_reads, *ledger.binds]
    for entry in sorted(entries, key=lambda entry: entry.spot.row):
        asked_for = isinstance(entry, KeyRead) and _names_its_module(entry.key)
        loops = loops_of(entry.guards)
        # `scale = alpha / rank` in a loop takes no alpha, unless it is what the loop goes through
        plain = isinstance(entry, Bind) and bool(loops) and not _is_target(entry, loops)
        pure = set(_origins(entry.value))
        for origin in _origins(entry.value, plain) if not entry.spot.chain else ():
            if isinstance(entry, Bind) or origin in pure or held.get(origin, entry.spot.row) < entry.spot.row:
                found[_key(entry.spot, origin)].taken.append((entry.spot, entry.guards, asked_for))
    put: list[Store | KeyWrite] = [*ledger.stores, *ledger.writes]
    for kept in put:
        for origin in _origins(kept.value):
            found[_key(kept.spot, origin)].kept.append(loops_of(kept.guards))
    for use in ledger.uses:
        if _keeps(use):
            for origin in (origin for value in use.given.values() for origin in _origins(value, False)):
                found[_key(use.spot, origin)].kept.append(loops_of(use.guards))
    return found


def _key(spot: Spot, origin: str) -> tuple[str, FunctionInfo | None, str]:
    return spot.file.filename, spot.function, origin


def _held(ledger: Ledger) -> dict[str, int]:
    """Alphas that a loop keeps as parts of scales, beside factors or under keys, and from which row on."""
    entries: list[Store | KeyWrite] = [*ledger.stores, *ledger.writes]
    put = [(entry.spot, entry.guards, [entry.value]) for entry in entries]
    put += [(u.spot, u.guards, [*u.given.values()]) for u in ledger.uses if _keeps(u)]
    found: dict[str, int] = {}
    for spot, guards, values in put:
        for value in values if loops_of(guards) and not spot.chain else ():
            for origin in _origins(value, False):
                found[origin] = min(spot.row, found.get(origin, spot.row))
    return found


def _keeps(use: Use) -> bool:
    """Does a container keep what it is given, or an object that is made of it?"""
    return use.called in KEEPERS or isinstance(use.callee, ClassInfo)


def _is_target(bind: Bind, loops: Loops) -> bool:
    """Is a name the target of a loop: ``for up, down, scale in pairs``?"""
    own = f"{LOOP}{bind.spot.row}"
    return any(name == own or name.startswith(f"{own},") for name in loops)


def compared_alphas(ledger: Ledger) -> set[str]:
    """Alphas that some code holds against each other, or counts: it knows when they are not all equal."""
    found: set[str] = set()
    for ask in ledger.asks:
        against = () if ask.other is None else tuple(_origins(ask.other))
        no_other = ask.how in ("Eq", "NotEq") and ask.other == NONE  # none so far: the first round of a loop
        found.update(origin for origin in _origins(ask.value) if no_other or origin in against)
        found.update(_counted(ask.value))
    return found


def _names_its_module(key: Value) -> bool:
    """Is a key put together for a module, as ``f"{name}.alpha"`` is, and not one of all keys?"""
    return isinstance(key, Text) and any(isinstance(part, str) for part in key.parts)


def _origins(value: Value, plain: bool = True) -> Iterator[str]:
    """Origins of the alphas that a value is, or (not ``plain``) that are in it."""
    for option in options(value):
        if isinstance(option.value, Tup) and not plain:
            for item in option.value.items:
                yield from _origins(item, plain)
        scale = scale_of(option.value)
        for symbol, power in () if scale is None else scale.powers:
            if symbol.role == ALPHA and power > 0 and (not plain or symbol == only_symbol(scale or ONE)):
                yield symbol.origin


def _counted(value: Value) -> Iterator[str]:
    """What a length counts."""
    for option in options(value):
        scale = scale_of(option.value)
        for symbol, _ in () if scale is None else scale.powers:
            if symbol.origin.startswith(LENGTH):
                yield symbol.origin.removeprefix(f"{LENGTH} of ").partition(COUNTED)[0]


def _uses(ledger: Ledger) -> Iterator[tuple[Spot, Scale, Guards]]:
    """Where a number meets the tensors of a module."""
    for fold in ledger.folds:
        yield fold.spot, fold.scale, fold.guards
    for quotient in ledger.quotients:
        for option in options(quotient.result):
            scale = scale_of(option.value)
            if scale is not None and any(symbol.role == RANK for symbol, _ in scale.powers):
                yield quotient.spot, scale, quotient.guards
    for apply in ledger.applies:
        if not _has_it_from_inside(apply.steps, apply.guards):
            yield apply.spot, apply.scale, apply.guards
    for write in ledger.writes:
        for option in options(write.value):
            held = option.value
            scale = held.scale if isinstance(held, Tensor) else scale_of(held)
            inside = isinstance(held, Tensor) and _has_it_from_inside(held.steps, write.guards)
            if scale is not None and not inside:
                yield write.spot, scale, write.guards
    for use in ledger.uses:
        if any(_is_factor(value) for value in use.given.values()):
            for value in use.given.values():
                for option in options(value):
                    scale = scale_of(option.value)
                    if scale is not None:
                        yield use.spot, scale, use.guards


def _handed(ledger: Ledger) -> Iterator[tuple[Spot, Scale, Guards]]:
    """Where layers of the project, or their constructor, are given a number as their alpha."""
    for use in ledger.uses:
        method = isinstance(use.callee, FunctionInfo) and use.callee.owner is not None
        for name, value in use.given.items() if method or isinstance(use.callee, ClassInfo) else ():
            for option in options(value) if role_of(name, True) == ALPHA else ():
                scale = scale_of(option.value)
                if scale is not None:
                    yield use.spot, scale, use.guards


def _has_it_from_inside(steps: tuple[Multiplied, ...], guards: Guards) -> bool:
    """Did a tensor get its alpha in a loop that has ended: a sum of deltas, each times its own scale?"""
    scaled = [step for step in steps if any(symbol.role == ALPHA for symbol, _ in step.scale.powers)]
    return any(loops_of(step.guards) - loops_of(guards) for step in scaled)


def _is_factor(value: Value) -> bool:
    return any(
        (isinstance(o.value, Tensor) and o.value.kind in FACTORS)
        or (isinstance(o.value, Place) and o.value.role in FACTORS)
        for o in options(value)
    )
