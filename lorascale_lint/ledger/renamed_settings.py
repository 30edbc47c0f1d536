"""Settings that are written for another program: a scale as an alpha, or an alpha as a scale."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import ALPHA, MULTIPLIER, RANK, SCALING, role_of
from lorascale_lint.ledger.entries import KeyWrite
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.tables import literal_of
from lorascale_lint.provenance.values import Place, Ref, Value, options

_SCALES = (SCALING, MULTIPLIER)


@immutable(frozen=True, slots=True, eq=False)
class Renamed:
    """``write`` puts what was looked up under ``old`` under ``new``; the rank goes along as it is."""

    write: KeyWrite
    old: str
    new: str


def renamed_settings(ledger: Ledger) -> Iterator[Renamed]:
    """One for each entry, where the rank beside it comes from the same settings."""
    groups: dict[int, list[KeyWrite]] = defaultdict(list)
    for write in ledger.writes:
        if isinstance(write.container, Ref) and literal_of(write.key):
            groups[write.container.key].append(write)
    for group in groups.values():
        ranks = [write for write in group if _role(literal_of(write.key)) == RANK]
        sources = {path for write in ranks for path, key in _looked_up(write.value) if _role(key) == RANK}
        if not sources or _are_both({_role(literal_of(write.key)) for write in group}):
            continue
        for write in group:
            found, new = _looked_up(write.value), literal_of(write.key)
            if len(found) == 1 and found[0][0] in sources and _are_both({_role(found[0][1]), _role(new)}):
                yield Renamed(write, found[0][1], new)


def _are_both(roles: set[str | None]) -> bool:
    """Are an alpha and a whole scale among them?"""
    return ALPHA in roles and not roles.isdisjoint(_SCALES)


def _looked_up(value: Value) -> list[tuple[str, str]]:
    """The table and the key of each thing in ``value`` that is looked up and goes on as it is."""
    paths = [option.value.path for option in options(value) if isinstance(option.value, Place)]
    parts = [path.removesuffix("]").rpartition("[") for path in paths]
    return list(
        dict.fromkeys((table, key) for table, bracket, key in parts if bracket and key.isidentifier())
    )


def _role(name: str) -> str | None:
    return role_of(name, True)
