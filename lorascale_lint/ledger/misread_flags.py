"""Options for rsLoRA that are tested under one name and read under another."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.kinds import speaks_of_rslora
from lorascale_lint.ledger.conditions import expression
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.provenance.guards import Guards
from lorascale_lint.provenance.values import Place, Value, options


@immutable(frozen=True, slots=True, eq=False)
class MisreadFlag:
    """Where ``tested`` holds, ``read`` of the same object is taken for the option, at ``spot``."""

    tested: str
    read: str
    spot: Spot

    @property
    def message(self) -> str:
        """What is wrong."""
        return f"`{self.tested}` is tested, and `{self.read}` is read for it"

    @property
    def steps(self) -> tuple[tuple[Spot, str], ...]:
        """How it comes about."""
        return (
            (self.spot, f"this is reached if `{self.tested}` is set"),
            (self.spot, f"and takes `{self.read}`, which nothing else names"),
        )


def misread_flags(ledger: Ledger) -> Iterator[MisreadFlag]:
    """One for each place; the name that is read must stand nowhere else in the file."""
    seen: set[object] = set()
    for spot, value, guards in _given(ledger):
        if spot.file.is_test or spot.node in seen:
            continue
        for option in options(value):
            path = option.value.path if isinstance(option.value, Place) else ""
            owner, dot, name = path.rpartition(".")
            tested = _tested(guards, owner) if dot and speaks_of_rslora(name) else set()
            other = next((item for item in sorted(tested) if speaks_of_rslora(item)), None)
            if other is None or name in tested:
                continue
            if len(re.findall(rf"\.{re.escape(name)}\b", spot.file.source)) == 1:
                seen.add(spot.node)
                yield MisreadFlag(f"{owner}.{other}", path, spot)


def _given(ledger: Ledger) -> Iterator[tuple[Spot, Value, Guards]]:
    """What is kept or given on as the option."""
    for write in ledger.writes:
        if speaks_of_rslora(getattr(write.key, "literal", None) or ""):
            yield write.spot, write.value, write.guards
    for store in ledger.stores:
        if speaks_of_rslora(store.field):
            yield store.spot, store.value, store.guards
    for use in ledger.uses:
        for name, value in use.given.items():
            if speaks_of_rslora(name):
                yield use.spot, value, use.guards


def _tested(guards: Guards, owner: str) -> set[str]:
    """The attributes of ``owner`` that conditions which hold ask for."""
    found: set[str] = set()
    for name, _ in guards:
        node = expression(name)
        for part in ast.walk(node) if node is not None else ():
            if isinstance(part, ast.Attribute) and ast.unparse(part.value) == owner:
                found.add(part.attr)
    return found
