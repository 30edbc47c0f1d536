"""Dictionaries by what is written into them: configurations, metadata, state dicts that are put together."""

from __future__ import annotations

from dataclasses import dataclass, field

from lorascale_lint.knowledge.interfaces import METADATA_PREFIX
from lorascale_lint.knowledge.roles import ALPHA, role_of
from lorascale_lint.ledger.entries import KeyWrite, Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.provenance.keys import role_in
from lorascale_lint.provenance.scale import ONE
from lorascale_lint.provenance.values import Number, Place, Ref, Tensor, Text, Value, options


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


def _tables(ledger: Ledger) -> list[Table]:
    found: dict[object, Table] = {}
    for write in ledger.writes:
        found.setdefault(_identity(write.container, write), Table(write.container)).writes.append(write)
    for use in ledger.uses:
        for value in use.given.values():
            for option in options(value):
                known = found.get(_identity(option.value, use)) if isinstance(option.value, Ref) else None
                if known is not None:
                    known.uses.append(use)
    return list(found.values())


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
