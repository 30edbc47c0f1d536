"""Alphas that a grouping of a file's keys puts under another module than their factors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.ledger.fates import Fate, every_fate, is_named
from lorascale_lint.ledger.key_words import alpha_words
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import literal_of
from lorascale_lint.provenance.values import UNKNOWN, Place, Ref, Text, Value, options
from lorascale_lint.provenance.ways import origins


@immutable(frozen=True, slots=True, eq=False)
class Misgrouped:
    """The factors of a module are grouped under ``module``, and at ``spot`` its alpha under ``other``.

    ``cut`` is where a function of the project makes that of the key, if one does.
    """

    spot: Spot
    module: str
    other: str
    cut: Spot | None


def misgrouped(ledger: Ledger) -> Iterator[Misgrouped]:
    """One for each grouping, in files that state an alpha for each module, by code that knows alpha."""
    seen: set[object] = set()
    made = {fate.trial.spot.file for fate in every_fate(ledger) if _makes_dotted(fate)}
    whole = {
        fate.trial.function for fate in every_fate(ledger) if "." in fate.trial.sample.module and _fits(fate)
    }
    for fate in every_fate(ledger):
        if fate.trial.function in whole or not is_named(fate):
            continue  # of names with dots alone, or of other ones
        if fate.trial.spot.file in made and "." in fate.trial.sample.module:
            continue  # the names of what it gives, and not of what it gets
        if not fate.trial.sample.states_alpha or next(alpha_words(fate), None) is None:
            continue
        spot = _where(fate)
        for own, other in _names(fate):
            if own != other and spot is not None and spot.node not in seen:
                seen.add(spot.node)
                yield Misgrouped(spot, own, other, _cut(fate, other))


def _fits(fate: Fate) -> bool:
    found = list(_names(fate))
    return bool(found) and all(own == other for own, other in found)


def _names(fate: Fate) -> Iterator[tuple[str, str]]:
    """The names of the groups in which the factors and their alpha stand, for each grouping."""
    for held in fate.trial.held.values():
        groups = dict(_groups(fate, held))
        own = [name for name, parts in groups.items() if {fate.down, fate.up} <= parts]
        other = [name for name, parts in groups.items() if fate.alpha in parts]
        if own and other:
            yield own[0], other[0]
    yield from _names_of_two(fate)


def _names_of_two(fate: Fate) -> Iterator[tuple[str, str]]:
    """The names in a table of factors and in one of alphas, which are looked up by the same name."""
    held = {key: entries for key, entries in fate.trial.held.items() if Ref(key, "dict") != fate.trial.given}
    alphas: dict[int, str] = {}
    factors: dict[int, str] = {}
    for table, entries in held.items():
        for name, parts in _groups(fate, entries):
            factors.update({table: name} if {fate.down, fate.up} <= parts else {})
        for key, value in entries:
            name = literal_of(key)
            alphas.update({table: name} if name and fate.alpha in origins(value) else {})
    asked: dict[object, set[int]] = defaultdict(set)
    for read in fate.ledger.reads:
        if isinstance(read.container, Ref) and isinstance(read.key, Text | Place) and read.key != UNKNOWN:
            asked[read.spot.function, read.key].add(read.container.key)
    for tables in asked.values():
        own, other = tables & factors.keys(), tables & alphas.keys() - factors.keys()
        if own and other:
            yield factors[min(own)], alphas[min(other)]


def _groups(fate: Fate, held: tuple[tuple[Value, Value], ...]) -> Iterator[tuple[str, set[str]]]:
    """What stands under each name of a dictionary of dictionaries."""
    for key, value in held:
        name = key.literal if isinstance(key, Text) else None
        for option in options(value) if name is not None else ():
            if isinstance(option.value, Ref):
                parts = fate.trial.held.get(option.value.key, ())
                yield name or "", {path for _, item in parts for path in origins(item)}


def _makes_dotted(fate: Fate) -> bool:
    """Does it give a file of flat names the names of one with dots?"""
    if "." in fate.trial.sample.module:
        return False
    factors = {fate.down, fate.up}
    made = (w.key for w in fate.ledger.writes if factors & set(origins(w.value)))
    return any(isinstance(key, Text) and (key.literal or "").count(".") > 3 for key in made)


def _where(fate: Fate) -> Spot | None:
    return next((w.spot for w in fate.ledger.writes if fate.alpha in origins(w.value)), None)


def _cut(fate: Fate, name: str) -> Spot | None:
    given = (item for item in fate.ledger.returns if item.spot.chain and isinstance(item.value, Text))
    return next((item.spot for item in given if getattr(item.value, "literal", None) == name), None)
