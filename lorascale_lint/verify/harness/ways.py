"""Which applications may come to one that nobody can call alone: of its class, of its callers, beside it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.linking.definitions import ClassInfo
from lorascale_lint.verify.harness.description import Action, Place, Sketch

_MOST = 10
# Calls between an application and one that comes to it.
_DEPTH = 4

_Named = tuple[str, str]
"""File, as places have it, and qualified name of a function or class."""
Callers = Mapping[_Named, Sequence[_Named]]
"""Of each function those that call it; the files are those of the ledger."""


def with_ways(
    sketches: Sequence[Sketch],
    ledger: Ledger,
    owners: Iterable[ClassInfo],
    by_file: Callers,
    named: Callable[[str], str],
) -> list[Sketch]:
    """The sketches with their `ways`. `owners` are classes of theirs, `named` gives files as places do."""
    lineages = {
        (named(cls.file.filename), cls.qualname): {
            (named(item.file.filename), item.qualname) for item in ledger.lineage(cls)
        }
        for cls in owners
    }
    callers = {
        (named(file), name): [(named(above), caller) for above, caller in found]
        for (file, name), found in by_file.items()
    }
    by_name: dict[_Named, list[Sketch]] = defaultdict(list)
    by_folder: dict[Path, list[Sketch]] = defaultdict(list)
    for item in sketches:
        place = item.place
        by_name[place.file, place.name].append(item)
        if place.owner:
            by_name[place.file, place.owner].append(item)
        if place.owner and place.action is Action.FORWARD:
            by_folder[Path(place.file).parent].append(item)
    heirs: dict[_Named, list[Sketch]] = defaultdict(list)
    for heir, lineage in lineages.items():
        for above in lineage - {heir}:
            heirs[above] += by_name.get(heir, [])

    def found(item: Sketch) -> Iterator[Sketch]:
        place = item.place
        if place.owner:
            yield from by_name[place.file, place.owner]
            yield from heirs[place.file, place.owner]
        for caller in above_in((place.file, place.name), callers):
            yield from by_name.get(caller, ())
            yield from by_name.get((caller[0], caller[1].rpartition(".")[0]), ())
        # Of a folder the file that applies the most deltas has the layers that others build upon.
        beside = by_folder[Path(place.file).parent]
        count = Counter(other.place.file for other in beside)
        yield from sorted(
            beside, key=lambda other: (other.place.file != place.file, -count[other.place.file])
        )

    return [replace(item, ways=tuple(_first(item, found(item)))) for item in sketches]


def _first(item: Sketch, ways: Iterable[Sketch]) -> Iterator[Sketch]:
    """One of each class, and each function, less the application itself where it belongs to no class."""
    seen = set() if item.place.owner else {(item.place.file, item.place.name)}
    for way in ways:
        key = (way.place.file, way.place.owner or way.place.name)
        if key not in seen and len(seen) <= _MOST and way.place.action is not Action.CONVERT:
            seen.add(key)
            yield replace(way, place=_whole(way.place), ways=())


def _whole(place: Place) -> Place:
    """A class as it is used: by its forward, whatever else the application is."""
    if not place.owner:
        return place
    return replace(place, name=f"{place.owner}.forward", action=Action.FORWARD)


def above_in(start: _Named, callers: Callers) -> Iterator[_Named]:
    """Those that call it, and those that call these, the nearest first."""
    seen, level = {start}, [start]
    for _ in range(_DEPTH):
        level = [above for name in level for above in callers.get(name, ()) if above not in seen]
        seen |= set(level)
        yield from dict.fromkeys(level)


def callers_in(ledger: Ledger) -> Callers:
    """Who calls each function."""
    callers: dict[_Named, dict[_Named, None]] = defaultdict(dict)
    for use in ledger.uses:
        if use.callee is not None and use.spot.function is not None:
            callee = (use.callee.file.filename, use.callee.qualname)
            callers[callee][use.spot.file.filename, use.spot.name] = None
    return {name: list(found) for name, found in callers.items()}
