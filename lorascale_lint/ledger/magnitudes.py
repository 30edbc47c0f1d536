"""Learned magnitudes of DoRA layers on their way to and from files."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.interfaces import WHOLE_STATES
from lorascale_lint.knowledge.kinds import speaks_of_dora
from lorascale_lint.knowledge.roles import FACTORS, MAGNITUDE, A, B
from lorascale_lint.ledger.entries import KeyWrite, Store, Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import Table, is_written, tables
from lorascale_lint.linking.definitions import ClassInfo, FunctionInfo
from lorascale_lint.provenance.values import Place, Ref, Tensor, options


@immutable(frozen=True, slots=True, eq=False)
class SavedFactors:
    """Both factors of an object of ``cls`` are written, by ``writes`` in order, and not its magnitude.

    ``condition`` says, of the receiver in braces, whether a layer has the magnitude; empty if each has.
    """

    cls: ClassInfo
    made: Store
    writes: tuple[KeyWrite, ...]
    condition: str

    def of(self, side: str) -> KeyWrite:
        """The entry of one factor."""
        return next(write for write in self.writes if side_of(write, self.cls) == side)


@immutable(frozen=True, slots=True, eq=False)
class Rebuilt:
    """An object of a class with a magnitude is made without ``flag``, and filled with tensors."""

    cls: ClassInfo
    made: Store
    use: Use
    init: FunctionInfo
    flag: str
    filled: Spot


class Magnitudes:
    """Classes of a project that learn a magnitude, and what is done with their objects."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.made: dict[ClassInfo, Store] = {}
        for store in ledger.stores:
            learned = any(
                isinstance(option.value, Tensor) and option.value.kind == MAGNITUDE and option.value.learned
                for option in options(store.value)
            )
            if learned and store.spot.cls is not None and not store.spot.file.is_test:
                self.made.setdefault(store.spot.cls, store)

    @cached_property
    def _stores(self) -> dict[tuple[FunctionInfo | None, tuple[str, ...]], list[Store]]:
        found: dict[tuple[FunctionInfo | None, tuple[str, ...]], list[Store]] = defaultdict(list)
        for store in self.ledger.stores:
            found[store.spot.function, store.spot.chain].append(store)
        return found

    @cached_property
    def _uses(self) -> dict[FunctionInfo | None, list[Use]]:
        found: dict[FunctionInfo | None, list[Use]] = defaultdict(list)
        for use in self.ledger.uses:
            found[use.spot.function].append(use)
        return found

    def saved_without(self) -> Iterator[SavedFactors]:
        """Methods that gather both factors of their own object for a file and never name the magnitude."""
        for table in tables(self.ledger):
            function, cls = table.writes[0].spot.function, table.writes[0].spot.cls
            made = self.made.get(cls) if cls is not None else None
            if function is None or cls is None or made is None or table.writes[0].spot.chain:
                continue
            own = _own_factors(table, cls)
            if {side_of(write, cls) for write in own} >= FACTORS and not self._may_add(function):
                yield SavedFactors(cls, made, tuple(own), self._condition(made))

    def exported_without(self) -> Iterator[SavedFactors]:
        """Functions that gather both factors of layers with a magnitude, which nothing in sight saves."""
        saved = {
            option.value.origin
            for write in self.ledger.writes
            for option in options(write.value)
            if isinstance(option.value, Tensor) and option.value.kind == MAGNITUDE
        }
        for table in tables(self.ledger) if self.made else ():
            function = table.writes[0].spot.function
            if function is None or table.writes[0].spot.file.is_test:
                continue
            for cls, made in self.made.items():
                if table.writes[0].spot.cls is cls or f"{cls.name}.{made.field}" in saved:
                    continue
                own = _own_factors(table, cls)
                if {side_of(write, cls) for write in own} != FACTORS:
                    continue
                if not is_written(self.ledger, table):
                    continue
                if not self._names(function, made.field) and not (made.guards and self._may_add(function)):
                    yield SavedFactors(cls, made, tuple(own), self._condition(made))

    def rebuilt_without(self) -> Iterator[Rebuilt]:
        """Layers made from loaded tensors without the option that makes them DoRA layers."""
        for use in self.ledger.uses:
            cls, function = use.callee, use.spot.function
            made = self.made.get(cls) if isinstance(cls, ClassInfo) else None
            if made is None or not isinstance(cls, ClassInfo) or function is None or use.spot.file.is_test:
                continue
            init = made.spot.function
            flag = next(filter(speaks_of_dora, init.parameters), "") if init is not None else ""
            default = init.default(flag) if init is not None else None
            if init is None or not isinstance(default, ast.Constant) or default.value or flag in use.given:
                continue
            if use.hidden:
                continue
            text = function.file.text(function.node)
            if any(speaks_of_dora(text.replace(item.name, "")) for item in self.made if item.name in text):
                continue
            filled = dict(self._filled(use))
            if filled.keys() >= FACTORS:
                yield Rebuilt(cls, made, use, init, flag, filled[A])

    def _filled(self, use: Use) -> Iterator[tuple[str, Spot]]:
        """Tensors of the new object that are overwritten with tensors from outside."""
        for store in self._stores[use.spot.function, use.spot.chain]:
            value, owner = store.value, store.owner
            side = value.role if isinstance(value, Place) else getattr(value, "kind", None)
            if side not in (A, B):
                continue
            same = isinstance(owner, Ref) and isinstance(use.result, Ref) and owner.key == use.result.key
            kind = f"{use.name.rpartition('.')[2]}."
            if same or (isinstance(owner, Tensor) and owner.origin.startswith(kind)):
                yield side, store.spot

    def _may_add(self, function: FunctionInfo) -> bool:
        """Does the method, or what it calls, name DoRA or take whatever the module holds?"""
        called = [use.callee for use in self._uses[function] if isinstance(use.callee, FunctionInfo)]
        texts = [item.file.text(item.node).replace(item.name, "", 1) for item in (function, *called)]
        return any(speaks_of_dora(text) or any(word in text for word in WHOLE_STATES) for text in texts)

    def _names(self, function: FunctionInfo, field: str) -> bool:
        """Does the function, or what it calls, name the field, or take whatever the module holds?"""
        called = [use.callee for use in self._uses[function] if isinstance(use.callee, FunctionInfo)]
        texts = [item.file.text(item.node) for item in (function, *called)]
        named = re.compile(rf"""[."']{re.escape(field)}\b""")
        return any(named.search(text) or any(word in text for word in WHOLE_STATES) for text in texts)

    def _condition(self, made: Store) -> str:
        """How a method asks whether a layer has the magnitude."""
        if not made.guards:
            return ""
        if len(made.guards) == 1:
            (atom, holds), function = made.guards[0], made.spot.function
            asked = atom.partition("@")[0]
            kept = [
                store.field
                for store in self.ledger.stores
                if store.spot.function is function and not store.guards
                if isinstance(store.value, Place) and store.value.path == asked
            ]
            name = asked.removeprefix("self.") if asked.startswith("self.") else next(iter(kept), "")
            if name.isidentifier():
                return f"{'' if holds else 'not '}{{}}.{name}"
        return f'hasattr({{}}, "{made.field}")'


def side_of(write: KeyWrite, cls: ClassInfo) -> str | None:
    """Which factor of an object of ``cls`` is written, if one is."""
    for option in options(write.value):
        value = option.value
        if isinstance(value, Tensor) and value.kind in FACTORS and value.origin.startswith(f"{cls.name}."):
            return value.kind
    return None


def _own_factors(table: Table, cls: ClassInfo) -> list[KeyWrite]:
    """Entries that hold a factor of an object of the class."""
    return [write for write in table.writes if side_of(write, cls) is not None]
