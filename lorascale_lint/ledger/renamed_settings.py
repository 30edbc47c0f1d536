"""Settings that are written for another program: a scale as an alpha, or an alpha as a scale."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.knowledge.roles import ALPHA, MULTIPLIER, RANK, SCALING, role_of
from lorascale_lint.ledger.entries import KeyWrite
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.provenance.values import Place, Ref, Text, Value, options

_SCALES = (SCALING, MULTIPLIER)


@dataclass(frozen=True, slots=True, eq=False)
class Renamed:
    """``write`` puts what was looked up under ``old`` under ``new``; the rank goes along as it is."""

    write: KeyWrite
    old: str
    new: str


def renamed_settings(ledger: Ledger) -> Iterator[Renamed]:
    """One for each entry, where the rank beside it comes from the same settings."""
    groups: dict[int, list[KeyWrite]] = defaultdict(list)
    for write in ledger.writes:
        if isinstance(write.container, Ref) and isinstance(write.key, Text) and write.key.literal:
            groups[write.container.key].append(write)
    for group in groups.values():
        roles = {_role(write.key.literal or "") for write in group if isinstance(write.key, Text)}
        ranks = [write for write in group if isinstance(write.key, Text) and _is(write.key.literal, RANK)]
        sources = {path for write in ranks for path, key in _looked_up(write.value) if _is(key, RANK)}
        for write in group if sources else ():
            new = write.key.literal if isinstance(write.key, Text) else None
            found = [key for path, key in _looked_up(write.value) if path in sources]
            if new is None or len(found) != 1 or len(_looked_up(write.value)) != 1:
                continue
            old, both = found[0], ALPHA in roles and roles & set(_SCALES)
            if not both and {_role(old), _role(new)} & {ALPHA} and {_role(old), _role(new)} & set(_SCALES):
                yield Renamed(write, old, new)


def _looked_up(value: Value) -> list[tuple[str, str]]:
    """The table and the key of each thing in ``value`` that is looked up and goes on as it is."""
    paths = [option.value.path for option in options(value) if isinstance(option.value, Place)]
    parts = [path.removesuffix("]").rpartition("[") for path in paths]
    return list(
        dict.fromkeys((table, key) for table, bracket, key in parts if bracket and key.isidentifier())
    )


def _role(name: str) -> str | None:
    return role_of(name, True)


def _is(name: str | None, role: str) -> bool:
    return name is not None and _role(name) == role
