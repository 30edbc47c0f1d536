"""Layers that are made again with the rank of a file, and with an alpha that is not the one they had."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import ALPHA, MULTIPLIER, RANK, SCALING, role_of
from lorascale_lint.ledger.entries import Fold, KeyRead, KeyWrite, Use, argument_of
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.left_at_default import constructor
from lorascale_lint.ledger.looks import calls_of
from lorascale_lint.ledger.numbers import number_origins, scale_of
from lorascale_lint.ledger.round_trips import Trip, is_saved_path, round_trips, tail_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import key_role_of
from lorascale_lint.linking.definitions import FileInfo
from lorascale_lint.provenance.values import Value, options

_SCALES = (ALPHA, SCALING, MULTIPLIER)


@immutable(frozen=True, slots=True, eq=False)
class HalfRestored:
    """``use`` makes layers with the rank, or the factors, of the file, and ``parameter`` is not from there.

    ``written`` is where the file gets its alpha, None where it gets none; ``given`` where the call's own
    stands, None where it is a default. ``told`` is the call in sight that gives the layers an alpha.
    """

    trip: Trip
    use: Use
    read: KeyRead
    parameter: str
    given: Spot | None
    written: KeyWrite | None
    told: Use | None

    @property
    def takes_rank(self) -> bool:
        """Is it the rank that comes from the file, and not the factors alone?"""
        return key_role_of(self.read.key) == RANK


@immutable(frozen=True, slots=True, eq=False)
class Misnamed:
    """``read`` asks for a number under a name that nobody writes; ``written`` is the one that is there."""

    read: KeyRead
    written: KeyWrite


def misnamed(ledger: Ledger) -> Iterator[Misnamed]:
    """Numbers that are looked up with a default, under a name that the file never has."""
    for trip in round_trips(ledger):
        written = [w for w in trip.writes_of(*_SCALES) if not _is_rank(w.value)]
        reads = trip.reads_of(*_SCALES)
        if not written or not reads or not trip.reads_of(RANK):
            continue
        if all(read.how == "get" and tail_of(read.key) not in trip.written for read in reads):
            yield Misnamed(reads[0], written[0])


def half_restored(ledger: Ledger) -> Iterator[HalfRestored]:
    """One for each call that is the outermost to mix the two."""
    seen: set[ast.AST] = set()
    for trip in round_trips(ledger):
        if trip.reads_of(*_SCALES):
            continue
        ranks = trip.reads_of(RANK)
        folds = any(map(_brings_alpha, (f for f in ledger.folds if f.spot.file in _files(trip))))
        own = [w for w in trip.writes_of(*_SCALES) if not _is_rank(w.value)]
        for use in trip.made_of_it():
            node, parameter = use.spot.node, _parameter(ledger, use)
            if parameter is None or node in seen or use.spot.file.is_test or _is_saved(use, parameter):
                continue
            told = trained_call(ledger, use, parameter)
            stands_in = parameter in use.given and _is_rank(use.given[parameter]) and not folds
            if own or (ranks and (parameter not in use.given or stands_in) and told is not None):
                seen.add(node)
                given = argument_of(use, parameter) if parameter in use.given else None
                read = ranks[0] if ranks else trip.reads[0]
                yield HalfRestored(trip, use, read, parameter, given, own[0] if own else None, told)
                break


def _files(trip: Trip) -> set[FileInfo]:
    return {write.spot.file for table in trip.tables for write in table.writes}


def _brings_alpha(fold: Fold) -> bool:
    """Is the trained scale in the factors that are saved, so that the rank is the right alpha for them?"""
    return any(symbol.role in (ALPHA, SCALING) for symbol, _ in fold.scale.powers)


def _parameter(ledger: Ledger, use: Use) -> str | None:
    """The one parameter by which a call tells the scale: alpha, or a whole scale where there is no alpha."""
    target = constructor(ledger, use.callee)
    if target is None or use.hidden:
        return None
    for roles in ((ALPHA,), (SCALING, MULTIPLIER)):
        names = [name for name in target.parameters if role_of(name, True) in roles]
        if names:
            return names[0] if len(names) == 1 and names[0] in target.names_read else None
    return None


def _is_saved(use: Use, parameter: str) -> bool:
    """Does the scale come from a file, too, or from nowhere that is known?"""
    value = use.given.get(parameter)
    if value is None or (role_of(parameter, True) == ALPHA and _is_rank(value)):
        return False
    ways = [option.value for option in options(value)]
    return any(scale_of(way) is None for way in ways) or any(map(is_saved_path, number_origins(value)))


def trained_call(ledger: Ledger, use: Use, parameter: str) -> Use | None:
    """Another call of it that is given the trained scale: an alpha that someone chose, divided or not."""
    for other in calls_of(ledger, use.callee):
        if other.spot.file.is_test or other.name != use.name:
            continue
        value = other.given.get(parameter)
        if value is None or any(map(is_saved_path, number_origins(value))) or _is_rank(value):
            continue
        scales = [scale_of(option.value) for option in options(value)]
        if all(scale is not None and any(s.role == ALPHA for s, _ in scale.powers) for scale in scales):
            return other
    return None


def _is_rank(value: Value) -> bool:
    """Is it the rank on every way, so that there is no alpha but this?"""
    scales = [scale_of(option.value) for option in options(value)]
    return all(
        scale is not None and {symbol.role for symbol, _ in scale.powers} == {RANK} for scale in scales
    )
