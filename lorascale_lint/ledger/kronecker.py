"""LoKr layers: which of their two Kronecker factors may be full matrices, and what asks for that."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from lorascale_lint.knowledge.kinds import kronecker_part, speaks_of_form
from lorascale_lint.knowledge.roles import ALPHA
from lorascale_lint.ledger.entries import Store
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import scale_of
from lorascale_lint.ledger.origins import last_of
from lorascale_lint.ledger.states import saved_states
from lorascale_lint.linking.definitions import ClassInfo
from lorascale_lint.provenance.guards import Guards, contradict
from lorascale_lint.provenance.scale import TRAINED, TRAINED_RS
from lorascale_lint.provenance.values import Const, Multiplied, Tensor, options


@dataclass(slots=True)
class Kronecker:
    """A class with both factors: where each is made as a full matrix, and the fields beside them."""

    cls: ClassInfo
    full: dict[str, Store] = field(default_factory=dict)
    factored: set[str] = field(default_factory=set)
    stores: list[Store] = field(default_factory=list)
    atoms: set[str] = field(default_factory=set)
    """All conditions of the class."""
    saved: Store | None = None
    """Where alpha goes into the state."""

    @property
    def may_be_full(self) -> bool:
        """May both be full matrices at once, and neither?"""
        if not self.full.keys() == self.factored == {"1", "2"}:
            return False
        return not contradict(self.full["1"].guards, self.full["2"].guards)

    @property
    def asks_for_both(self) -> bool:
        """Does some condition ask for the form of both at once?"""
        return any({"1", "2"} <= _parts(atom) for atom in self.atoms)

    def scales(self) -> Iterator[Store]:
        """Fields that are alpha / rank where both are full, whatever their form is."""
        full = (*self.full["1"].guards, *self.full["2"].guards)
        for store in self.stores:
            found = [
                (scale_of(option.value), (*store.guards, *option.guards)) for option in options(store.value)
            ]
            trained = [
                guards
                for scale, guards in found
                if scale is not None and scale.by_role() in (TRAINED, TRAINED_RS)
            ]
            asked = any(speaks_of_form(atom) for _, guards in found for atom, _ in guards)
            if not asked and any(not contradict(guards, full) for guards in trained):
                yield store

    def question(self, part: str) -> str:
        """How a method asks, of the receiver in braces, whether a factor is full."""
        matrix = self.full[part]
        flags: dict[str, set[object]] = defaultdict(set)
        for store in self.stores:
            always = store.guards in ((), matrix.guards)
            if isinstance(store.value, Const) and always and kronecker_part(store.field) == (part, False):
                flags[store.field].add((store.value.value, store.guards))
        together: set[object] = {(True, matrix.guards), (False, ())}
        flag = next((name for name, found in flags.items() if found == together), None)
        return f'hasattr({{}}, "{matrix.field}")' if flag is None else f"{{}}.{flag}"


def kroneckers(ledger: Ledger) -> list[Kronecker]:
    """The classes that make a Kronecker factor, looked at by themselves."""
    found: dict[ClassInfo, Kronecker] = {}
    for store in ledger.stores:
        cls, part = store.spot.cls, kronecker_part(store.field)
        if cls is None or store.spot.chain or store.spot.file.is_test:
            continue
        known = found.setdefault(cls, Kronecker(cls))
        known.stores.append(store)
        held = [option.value for option in options(store.value)]
        if part is not None and any(isinstance(value, Tensor) for value in held):
            if part[1]:
                known.factored.add(part[0])
            else:
                known.full.setdefault(part[0], store)
    for saved in saved_states(ledger):
        if saved.spot.cls in found and saved.field == ALPHA and not saved.spot.chain:
            found[saved.spot.cls].saved = found[saved.spot.cls].saved or saved
    _add_conditions(ledger, found)
    return [item for item in found.values() if item.full]


def scaled_when_full(ledger: Ledger) -> Iterator[Multiplied]:
    """Where alpha multiplies the product of two full matrices of a file, each place once."""
    seen: set[ast.AST] = set()
    for step in ledger.multiplied:
        made = step.before
        if not isinstance(made, Tensor) or made.variant != "lokr" or made.rows or step.spot.file.is_test:
            continue
        entry = made.origin.endswith("]") and kronecker_part(last_of(made.origin)) is not None
        alpha = any(symbol.role == ALPHA and power == 1 for symbol, power in step.scale.powers)
        if entry and alpha and not step.scale.unknowns() and step.spot.node not in seen:
            seen.add(step.spot.node)
            yield step


def _add_conditions(ledger: Ledger, found: dict[ClassInfo, Kronecker]) -> None:
    given: list[tuple[ClassInfo | None, Guards]] = [(item.spot.cls, item.guards) for item in ledger.uses]
    given += [(item.spot.cls, item.guards) for item in ledger.returns]
    given += [(item.spot.cls, item.guards) for item in ledger.applies]
    given += [(item.spot.cls, item.guards) for item in ledger.stores]
    given += [(s.spot.cls, option.guards) for s in ledger.stores for option in options(s.value)]
    for cls, guards in given:
        if cls is not None and cls in found:
            found[cls].atoms.update(atom for atom, _ in guards)


def _parts(text: str) -> set[str]:
    return {part[0] for word in text.replace("(", " ").split() if (part := kronecker_part(word)) is not None}
