"""Patches of ComfyUI: tuples of both factors and alpha, which ComfyUI divides by the rank itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.interfaces import PATCH_CLASSES, PATCHES, Patch
from lorascale_lint.knowledge.roles import FACTORS
from lorascale_lint.knowledge.speech import speaks_of_kohya
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.values import NONE, Place, Text, Tup, Value, options


@immutable(frozen=True, slots=True, eq=False)
class BarePatch:
    """At ``spot`` factors of a file whose keys state alpha are put into a patch with None in its place."""

    spot: Spot
    keys: tuple[str, ...]


def bare_patches(ledger: Ledger) -> Iterator[BarePatch]:
    """Those of functions that put no alpha into any patch, each once."""
    found: dict[FunctionInfo | None, dict[int, BarePatch]] = defaultdict(dict)
    told: set[FunctionInfo | None] = set()
    made: dict[tuple[str, ...], int] = {}  # the row of a patch; what is given back was kept before
    for value, spot in _values(ledger):
        for option in options(value):
            for parts, form in _patches(option.value):
                alpha = parts[form.alpha] if len(parts) > form.alpha else NONE
                if any(way.value != NONE for way in options(alpha)):
                    told.add(spot.function)
                elif not spot.file.is_test and (keys := _keys(parts[form.first], parts[form.first + 1])):
                    if made.setdefault(keys, spot.row) != spot.row:
                        continue
                    found[spot.function].setdefault(spot.row, BarePatch(spot, keys))
    for function, patches in found.items():
        if function not in told:
            yield from patches.values()


def _values(ledger: Ledger) -> Iterator[tuple[Value, Spot]]:
    yield from ((given.value, given.spot) for given in ledger.returns)
    yield from ((write.value, write.spot) for write in ledger.writes)
    for use in ledger.uses:
        if use.called in PATCH_CLASSES and use.callee is None:
            yield Tup((Text(("lora",)), use.given.get("1", NONE))), use.spot


def _patches(value: Value) -> Iterator[tuple[tuple[Value, ...], Patch]]:
    """The parts of the patch that a tuple is: ``("lora", (up, down, alpha))``."""
    if not isinstance(value, Tup) or len(value.items) < 2 or not isinstance(value.items[0], Text):
        return
    form, inner = PATCHES.get(value.items[0].literal or ""), value.items[1]
    if form is not None and isinstance(inner, Tup) and len(inner.items) > form.first + 1:
        yield inner.items, form


def _keys(one: Value, two: Value) -> tuple[str, ...]:
    """Both factors' keys in the file; nothing where they were changed, or where such files state no alpha."""
    places = [way.value for value in (one, two) for way in options(value) if way.value != NONE]
    kept = [place for place in places if isinstance(place, Place)]
    if len(kept) != len(places) or {place.role for place in kept} != FACTORS:
        return ()
    paths = tuple(place.path for place in kept)
    return paths if all(map(speaks_of_kohya, paths)) else ()
