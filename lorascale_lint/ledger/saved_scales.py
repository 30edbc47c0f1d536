"""Whole scales, and strengths, that stand in a file where its readers expect an alpha."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.interfaces import (
    CONFIGURATION_CLASSES,
    PEFT_ALPHA,
    SETTINGS_KEYS,
    WRITERS,
    WRITES_TENSORS,
    WRITES_TEXT,
)
from lorascale_lint.knowledge.roles import ALPHA, MULTIPLIER, RANK, SCALING, STRENGTH, A, B
from lorascale_lint.ledger.entries import argument_of
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import scale_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import Table, constant, is_real_factor, tables
from lorascale_lint.provenance.values import UNKNOWN, Place, Value, options

_WHOLE = frozenset({SCALING, MULTIPLIER, STRENGTH})


@immutable(frozen=True, slots=True, eq=False)
class SavedScale:
    """At ``spot`` a scale is given as alpha; ``rank`` is what readers divide by, if it stands beside it."""

    spot: Spot
    rank: Spot | None
    is_quotient: bool
    """Is it made as alpha / rank, so that no name has to be believed?"""
    is_certain: bool
    """Settings of PEFT say what alpha is; an option, or the alpha of a project, may be called a scale."""


def saved_scales(ledger: Ledger) -> Iterator[SavedScale]:
    """Configurations that are made, and dictionaries that are saved, with a scale as their alpha."""
    yield from _configurations(ledger)
    yield from _tables(ledger)


def _configurations(ledger: Ledger) -> Iterator[SavedScale]:
    seen: set[object] = set()
    for use in ledger.uses:
        found = _powers(use.given.get(PEFT_ALPHA, UNKNOWN)) if use.called in CONFIGURATION_CLASSES else set()
        spot, rank = argument_of(use, PEFT_ALPHA), argument_of(use, "r")
        if not found or spot is None or rank is None or use.spot.node in seen or use.spot.file.is_test:
            continue
        seen.add(use.spot.node)
        if constant(use.given["r"]) != 1:
            yield SavedScale(spot, rank, _are_quotients(found), _are_quotients(found))


def _tables(ledger: Ledger) -> Iterator[SavedScale]:
    for table in tables(ledger):
        alphas = table.by_role(ALPHA)
        if not alphas or alphas[0].spot.file.is_test or not all(_powers(write.value) for write in alphas):
            continue
        ranks = table.by_role(RANK)
        if is_settings(table) and ranks:
            readers_divide = all(constant(rank.value) != 1 for rank in ranks)
        else:
            readers_divide = has_real_factors(table) and is_saved(ledger, table)
        if readers_divide:
            found = {powers for write in alphas for powers in _powers(write.value)}
            of_peft = bool(ranks) and getattr(alphas[0].key, "literal", None) == PEFT_ALPHA
            named = of_peft and all(role != STRENGTH for powers in found for role, _ in powers)
            rank = ranks[0].spot if ranks else None
            yield SavedScale(alphas[0].spot, rank, _are_quotients(found), named or _are_quotients(found))


def _are_quotients(found: set[tuple[tuple[str, int], ...]]) -> bool:
    return all((ALPHA, 1) in powers for powers in found)


def _powers(value: Value) -> set[tuple[tuple[str, int], ...]]:
    """The roles that the value is made of, for each way, if it is a whole scale on all; else nothing."""
    found = set()
    for option in options(value):
        scale = scale_of(option.value) or getattr(option.value, "scale", None)
        if scale is None or scale.unknowns() or not scale.powers:
            return set()
        powers = tuple(sorted((symbol.role or "", int(power)) for symbol, power in scale.powers))
        quotient = set(powers) == {(ALPHA, 1), (RANK, -1)}
        if not quotient and not all(role in _WHOLE and power == 1 for role, power in powers):
            return set()
        found.add(powers)
    return found


def is_settings(table: Table) -> bool:
    """Are these the settings of an adapter, or are they written as text?"""
    return bool(table.named(*SETTINGS_KEYS)) or table.goes_to(WRITES_TEXT)


def has_real_factors(table: Table) -> bool:
    """Are both factors in it, and were they not made here?"""
    return all(any(is_real_factor(write.value) for write in table.by_role(side)) for side in (A, B))


def is_saved(ledger: Ledger, table: Table) -> bool:
    """Is it given to a call that writes tensors, or given back in a file that calls one?"""
    if table.goes_to(WRITES_TENSORS):
        return True
    file = table.writes[0].spot.file
    returned = any(
        item.spot.file is file and table.container in (option.value for option in options(item.value))
        for item in ledger.returns
    )
    return returned and any(use.called in WRITES_TENSORS and use.spot.file is file for use in ledger.uses)


def are_saved_settings(table: Table) -> bool:
    """Are these settings with a rank that is no literal?"""
    ranks = table.by_role(RANK)
    if not ranks or any(_is_literal(write.value) for write in ranks):
        return False
    return is_settings(table)


def is_of_writer(table: Table) -> bool:
    """Is it no dictionary, but what writes the file itself?"""
    return isinstance(table.container, Place) and table.container.path.removesuffix("()") in WRITERS


def _is_literal(value: Value) -> bool:
    return all(constant(option.value) is not None for option in options(value))
