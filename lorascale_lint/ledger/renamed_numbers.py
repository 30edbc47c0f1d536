"""Numbers that are saved as something that they are not: the rank as alpha, alpha as a whole scale."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import ALPHA, MULTIPLIER, RANK, SCALING, role_of
from lorascale_lint.ledger.entries import Apply, KeyRead, KeyWrite, Use
from lorascale_lint.ledger.half_restored import trained_call
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import calls_of
from lorascale_lint.ledger.numbers import is_each_way, number_origins
from lorascale_lint.ledger.origins import last_of, owner_of
from lorascale_lint.ledger.round_trips import Trip, round_trips, tail_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import Table
from lorascale_lint.provenance.scale import TRAINED, Scale
from lorascale_lint.provenance.values import NONE, Hole, Multiplied, Tensor, Text, Value, options


@immutable(frozen=True, slots=True, eq=False)
class RankAsAlpha:
    """``written`` is the rank under a key of alpha; ``made`` makes layers of it, ``trained`` of an alpha."""

    written: KeyWrite
    made: Use
    trained: Use

    @property
    def message(self) -> str:
        """What is wrong."""
        return f"the rank is saved as alpha, and `{self.made.spot.name}` makes the layers with it"

    @property
    def steps(self) -> tuple[tuple[Spot, str], ...]:
        """How it comes about."""
        return (
            (self.trained.spot, "the layers are trained with an alpha of its own"),
            (self.made.spot, "and made again with what was saved as alpha: the rank"),
        )


def ranks_as_alpha(ledger: Ledger) -> Iterator[RankAsAlpha]:
    """Entries that layers are made of again as if they were the alpha with which others are trained."""
    seen: set[object] = set()
    for trip in round_trips(ledger):
        ranks = [w for w in trip.writes_of(ALPHA) if _is_rank(w.value)]
        if not ranks or len(ranks) < len(trip.writes_of(ALPHA)):
            continue
        for use in trip.made_of_it():
            given = [n for n, v in use.given.items() if role_of(n, True) == ALPHA and trip.holds(v)]
            trained = trained_call(ledger, use, given[0]) if given else None
            if trained is not None and ranks[0].spot.node not in seen:
                seen.add(ranks[0].spot.node)
                yield RankAsAlpha(ranks[0], use, trained)


@immutable(frozen=True, slots=True, eq=False)
class AlphaAsScale:
    """An alpha is ``written``, ``read`` and ``used`` as it is; ``trained`` divides it by the rank."""

    written: KeyWrite
    read: KeyRead
    used: Spot
    trained: Spot


def alphas_as_scale(ledger: Ledger) -> Iterator[AlphaAsScale]:
    """Entries that are the alpha of the layers saved beside them, and multiply their product undivided."""
    seen: set[object] = set()
    for trip in round_trips(ledger):
        for read in trip.reads_of(SCALING, MULTIPLIER):
            tail = tail_of(read.key)
            written = [
                w
                for w in trip.writes_of(SCALING, MULTIPLIER)
                if tail_of(w.key) == tail and is_each_way(w.value, Scale.of(ALPHA))
            ]
            if not written or written[0].spot.node in seen:
                continue
            multiplied, trained = _undivided(ledger, trip, read), _trained(ledger, trip.tables)
            found = None if multiplied is None or trained is None else (multiplied.spot, trained.spot)
            found = found or _given_again(ledger, trip, read)
            if found is not None:
                seen.add(written[0].spot.node)
                yield AlphaAsScale(written[0], read, *found)


def _given_again(ledger: Ledger, trip: Trip, read: KeyRead) -> tuple[Spot, Spot] | None:
    """The call that makes layers with the entry, and the one that makes them with alpha / rank."""
    paths = set(number_origins(read.value))
    for use in trip.made_of_it():
        for name, value in use.given.items():
            if role_of(name, True) not in (SCALING, MULTIPLIER) or not paths & {*number_origins(value)}:
                continue
            for other in calls_of(ledger, use.callee):
                if is_each_way(other.given.get(name, NONE), TRAINED) and not other.spot.file.is_test:
                    return use.spot, other.spot
    return None


def _undivided(ledger: Ledger, trip: Trip, read: KeyRead) -> Multiplied | None:
    """Where the entry multiplies a tensor, if nothing in sight ever divides it."""
    paths = set(number_origins(read.value))
    found = None
    for step in ledger.multiplied:
        if any(symbol.origin in paths for symbol, _ in step.scale.powers):
            if not _is_of(step.scale, paths):
                return None
            found = found or step
    divided = any(paths & {*number_origins(q.value), *number_origins(q.by)} for q in ledger.quotients)
    return None if divided else found


def _is_of(scale: Scale, paths: set[str]) -> bool:
    return len(scale.powers) == 1 and scale.powers[0][0].origin in paths and scale.powers[0][1] == 1


def _trained(ledger: Ledger, tables: tuple[Table, ...]) -> Apply | None:
    """Where factors that are saved in one of the tables are applied at alpha / rank."""
    saved = {
        option.value.origin
        for table in tables
        for write in table.writes
        for option in options(write.value)
        if isinstance(option.value, Tensor)
    }
    return next((a for a in ledger.applies if a.factors in saved and a.scale.by_role() == TRAINED), None)


def _is_rank(value: Value) -> bool:
    """Is it the rank that somebody chose, as a number or as text, on every way?"""
    return all(_path_of_rank(option.value) for option in options(value))


def _path_of_rank(value: Value) -> str:
    if isinstance(value, Text):
        hole = value.parts[0] if len(value.parts) == 1 else ""
        path = hole.name if isinstance(hole, Hole) and isinstance(hole.name, str) else ""
        return path if owner_of(path) and role_of(last_of(path), True) == RANK else ""
    return next(iter(number_origins(value)), "") if is_each_way(value, Scale.of(RANK)) else ""
