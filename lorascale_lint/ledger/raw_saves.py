"""Classes whose scale depends on a flag for rsLoRA, and that save an alpha which does not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.interfaces import WRITES_TENSORS, WRITES_TEXT
from lorascale_lint.knowledge.kinds import speaks_of_rslora
from lorascale_lint.knowledge.roles import ALPHA, RANK
from lorascale_lint.ledger.contracts import Contracts
from lorascale_lint.ledger.entries import Store
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import scale_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.states import saved_states
from lorascale_lint.ledger.surroundings import around
from lorascale_lint.linking.definitions import ClassInfo
from lorascale_lint.provenance.scale import TRAINED, TRAINED_RS, Scale
from lorascale_lint.provenance.values import Place, Text, options


@immutable(frozen=True, slots=True)
class RawSave:
    """A class scales by alpha / sqrt(rank) under the flag, and saves alpha as it is."""

    cls: ClassInfo
    scale: Store
    saved: Store


def raw_saves(ledger: Ledger) -> Iterator[RawSave]:
    """One for each class that keeps the flag nowhere."""
    scaled: dict[object, Store] = {}
    for store in ledger.stores:
        if not store.spot.file.is_test and _depends_on_flag(store):
            scaled.setdefault(store.spot.cls, store)
    seen: set[object] = set()
    kept = _keepers(ledger, scaled) if scaled else set()
    for saved in saved_states(ledger):
        cls, scale = saved.spot.cls, scaled.get(saved.spot.cls)
        if scale is None or cls is None or cls in seen or saved.spot.chain:
            continue  # a caller may have switched the flag off
        if saved.field == ALPHA and _is_raw(saved):
            seen.add(cls)
            if cls not in kept:
                yield RawSave(cls, scale, saved)


def raw_configurations(ledger: Ledger) -> Iterator[tuple[Spot, Spot]]:
    """Where alpha of a configuration that may say rsLoRA is saved, and what is made with the flag."""
    contracts = ledger.once(Contracts)
    written: set[tuple[str, int]] = set()
    for meeting in contracts.meetings:
        place = (meeting.spot.file.filename, meeting.spot.row)
        built = contracts.built_with(meeting, speaks_of_rslora) if meeting.rank is None else None
        if built is not None and place not in written and not speaks_of_rslora(around(meeting.spot)):
            written.add(place)
            yield meeting.spot, built


def _depends_on_flag(store: Store) -> bool:
    """Is it alpha / sqrt(rank) under a flag that the constructor was given, and alpha / rank without?"""
    found = [(scale_of(option.value), option.guards) for option in options(store.value)]
    known = [(scale.by_role(), guards) for scale, guards in found if scale is not None]
    taken = set(store.spot.function.parameters) if store.spot.function is not None else set()
    asked = [atom.partition("@")[0] for scale, guards in known if scale == TRAINED_RS for atom, _ in guards]
    flags = [atom.removeprefix("self.").removeprefix("not ") for atom in asked if speaks_of_rslora(atom)]
    return TRAINED in dict(known) and any(
        flag in taken or (flag.isidentifier() and f"self.{flag}" in asked) for flag in flags
    )


def _is_raw(saved: Store) -> bool:
    """Is it alpha as it was given, or the rank that stands in for an alpha of None or 0?"""
    values = [option.value for option in options(saved.value)]
    scales = [scale_of(value) for value in values if not (isinstance(value, Place) and value.made)]
    plain = [scale.by_role() for scale in scales if scale is not None]
    return (
        len(plain) == len(values)
        and Scale.of(ALPHA) in plain
        and set(plain) <= {Scale.of(ALPHA), Scale.of(RANK)}
    )


def _keepers(ledger: Ledger, classes: Iterable[object]) -> set[object]:
    """Classes that keep the flag in their state, or write it; all of them if what saves files writes it."""
    kept: set[object] = {s.spot.cls for s in saved_states(ledger) if speaks_of_rslora(s.field)}
    saves = WRITES_TENSORS | WRITES_TEXT
    savers = {use.spot.function for use in ledger.uses if use.called in saves}
    for write in ledger.writes:
        if isinstance(write.key, Text) and speaks_of_rslora(write.key.literal or ""):
            kept.add(write.spot.cls)
            kept.update(classes if write.spot.function in savers else ())
    return kept
