"""Dictionaries by what is written into them: configurations, metadata, state dicts that are put together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from lorascale_lint.knowledge.interfaces import (
    PATHS,
    WRITES_NAMED,
    WRITES_TENSORS,
    WRITES_TEXT,
)
from lorascale_lint.knowledge.roles import ALPHA, METADATA_PREFIX, role_of
from lorascale_lint.ledger.entries import KeyWrite, Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.provenance.keys import role_in
from lorascale_lint.provenance.scale import ONE
from lorascale_lint.provenance.values import Number, Place, Ref, Tensor, Text, Value, options

FILE = "file that is written"
"""How a place is made that a call writes without a dictionary."""


@dataclass(slots=True)
class Table:
    """One dictionary: what was written into it, in order, and the calls that it was given to."""

    container: Value
    writes: list[KeyWrite] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)

    def by_role(self, role: str) -> list[KeyWrite]:
        """Writes under keys of a role: ``lora_alpha``, ``r``, ``x.lora_A.weight``, ``x.alpha``."""
        return [write for write in self.writes if key_role_of(write.key) == role]

    def named(self, *keys: str) -> list[KeyWrite]:
        """Writes under one of these very keys."""
        return [write for write in self.writes if isinstance(write.key, Text) and write.key.literal in keys]

    def goes_to(self, calls: frozenset[str]) -> bool:
        """Is it given to one of these calls?"""
        return any(use.called in calls for use in self.uses)


def tables(ledger: Ledger) -> list[Table]:
    """The dictionaries that the code makes or changes, in the order of their first entry."""
    return ledger.once(_tables)


def is_written(ledger: Ledger, table: Table) -> bool:
    """Is the table given to a call that writes a file, or an entry of one that is?"""
    container = table.container
    if isinstance(container, Ref):
        return container.key in ledger.once(_written_keys)
    return isinstance(container, Place) and container.made == FILE


def _written_keys(ledger: Ledger) -> set[int]:
    """The dictionaries and lists that become files, or stand in those that do, by their key on the heap."""
    within: dict[int, list[int]] = defaultdict(list)
    for write in ledger.writes:
        if isinstance(write.container, Ref):
            within[write.container.key] += _refs(write.value)
    for entry in ledger.spreads:
        if isinstance(entry.container, Ref):
            within[entry.container.key] += _refs(entry.source)
    found: set[int] = set()
    pending = [
        key
        for use in ledger.uses
        for name, value in (*use.given.items(), ("", use.rest))
        if use.called in WRITES_TENSORS | WRITES_TEXT or name == "metadata"
        for key in _refs(value)
    ]
    while pending:
        key = pending.pop()
        if key not in found:
            found.add(key)
            pending += within[key]
    return found


def _refs(value: Value) -> list[int]:
    return [option.value.key for option in options(value) if isinstance(option.value, Ref)]


def _tables(ledger: Ledger) -> list[Table]:
    found: dict[object, Table] = {}
    for write in ledger.writes:
        found.setdefault(_identity(write.container, write), Table(write.container)).writes.append(write)
    for write in _named_arrays(ledger):
        found.setdefault(_identity(write.container, write), Table(write.container)).writes.append(write)
    for use in ledger.uses:
        for value in (*use.given.values(), use.rest):
            for option in options(value):
                known = found.get(_identity(option.value, use)) if isinstance(option.value, Ref) else None
                if known is not None:
                    known.uses.append(use)
    return list(found.values())


def _named_arrays(ledger: Ledger) -> Iterator[KeyWrite]:
    """What a call writes under the names of its arguments: ``savez(path, rank=rank, **factors)``."""
    for use in ledger.uses:
        if use.called in WRITES_NAMED:
            container = (
                use.rest
                if isinstance(use.rest, Ref)
                else Place(f"{use.called} in row {use.spot.row}", made=FILE)
            )
            for name, value in use.given.items():
                if not name.isdigit() and name not in PATHS:
                    yield KeyWrite(use.spot, container, Text((name,)), value, use.guards)


def _identity(container: Value, entry: KeyWrite | Use) -> object:
    if isinstance(container, Ref):
        return container.key
    path = container.path if isinstance(container, Place) else "?"
    return (path, entry.spot.file.filename, entry.spot.name, entry.spot.chain)


def tells_nothing(table: Table) -> bool:
    """Is a table of metadata the same for every adapter, with no alpha in it: ``{"format": "pt"}``?"""
    return not table.by_role(ALPHA) and all(
        isinstance(write.value, Text) and write.value.literal is not None for write in table.writes
    )


def key_role_of(key: Value) -> str | None:
    """What stands under a key of a state dict or of a configuration."""
    if not isinstance(key, Text):
        return None
    literal = (key.literal or "").removeprefix(METADATA_PREFIX)
    return role_in(key) or (role_of(literal, True) if literal.isidentifier() else None)


def literal_of(key: Value) -> str:
    """The text of a key that is known letter by letter, else the empty string."""
    return (key.literal or "") if isinstance(key, Text) else ""


def constant(value: Value) -> float | None:
    """The number that is written, also as text (metadata) or as a tensor; None if it is no literal."""
    if isinstance(value, Number):
        return None if value.scale.constant is None else float(value.scale.constant)
    if isinstance(value, Tensor) and value.kind == "number":
        return None if value.scale.constant is None else float(value.scale.constant)
    if isinstance(value, Text) and value.literal:
        try:
            return float(value.literal)
        except ValueError:
            return None
    return None


def is_real_factor(value: Value) -> bool:
    """Is the value a trained tensor, and none that was made here or whose origin nobody knows?"""
    return any(
        (isinstance(option.value, Tensor) and option.value.kind in ("A", "B"))
        or (isinstance(option.value, Place) and option.value.role in ("A", "B"))
        for option in options(value)
    )


def is_plain_factor(value: Value) -> bool:
    """Is the value a tensor as it was read: nothing was multiplied onto it, as far as is known?"""
    return all(
        (isinstance(option.value, Tensor) and option.value.scale == ONE and option.value.kind != "fresh")
        or (isinstance(option.value, Place) and option.value.role in (None, "A", "B"))
        for option in options(value)
    )
