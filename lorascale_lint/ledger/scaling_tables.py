"""Entries of the table ``scaling`` of a layer, which hold strength times the trained scale by adapter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from math import ceil

from lorascale_lint.knowledge.interfaces import PEFT_LAYERS, SCALING_TABLE
from lorascale_lint.knowledge.roles import ALPHA, FACTORS, RANK, SCALING
from lorascale_lint.ledger.entries import KeyRead, KeyWrite
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import every_number, every_value, scale_of
from lorascale_lint.ledger.tables import key_role_of
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.scale import Scale, Symbol
from lorascale_lint.provenance.values import Place, Ref, Text, Tup, Value, options


def table_of(entry: KeyRead | KeyWrite) -> Value | None:
    """The table of an entry that is read or written; None if it is no table of scalings."""
    for option in options(entry.container):  # `layer`, or what it wraps
        container = option.value
        if isinstance(container, Place) and container.path.rpartition(".")[2] == SCALING_TABLE:
            return container
        if isinstance(container, Ref) and isinstance(entry, KeyWrite) and entry.name == SCALING_TABLE:
            return container
    return None


def table_writes(ledger: Ledger) -> Iterator[tuple[KeyWrite, Value]]:
    """Writes of an entry, with their table, outside of tests."""
    for write in ledger.writes:
        table = table_of(write)
        if table is not None and not write.spot.file.is_test:
            yield write, table


def is_entry(symbol: Symbol) -> bool:
    """Is the number an entry of such a table, as it was read?"""
    return symbol.role == SCALING and f"{SCALING_TABLE}[" in symbol.origin


def degree(scale: Scale) -> int:
    """How often the trained scale is in a scale: twice in ``scaling * alpha / rank``."""
    above = sum(power for symbol, power in scale.powers if symbol.role == ALPHA)
    below = -sum(power for symbol, power in scale.powers if symbol.role == RANK)
    stored = sum(power for symbol, power in scale.powers if is_entry(symbol))
    if above > 0 and below > 0:
        return int(stored + min(above, ceil(below)))  # alpha / sqrt(rank) is a trained scale, too
    return int(stored - min(-above, ceil(-below))) if above < 0 and below < 0 else int(stored)


def scales_of(value: Value) -> list[Scale]:
    """Each number that a value may be."""
    found = (scale_of(option.value) for option in options(value))
    return [scale for scale in found if scale is not None]


def own_table(ledger: Ledger) -> bool:
    """Does a class of the project have such a table of its own?"""
    return any(
        store.field == SCALING_TABLE and isinstance(store.owner, Ref) for store in ledger.stores
    ) or any(
        isinstance(table, Ref) or (isinstance(table, Place) and table.path == f"self.{SCALING_TABLE}")
        for _, table in table_writes(ledger)
    )


class PeftTables:
    """Which tables are those of layers of PEFT, and which functions multiply what is in them."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._own = own_table(ledger)
        self._tested = {
            (ask.spot.function, _path(ask.value))
            for ask in ledger.asks
            if ask.how == "isinstance" and ask.other is not None and _is_peft(ask.other)
        }
        self._handed_on = {
            (spot.function, option.value) for value, spot in every_value(ledger) for option in options(value)
        }
        looked_at = [(ask.value, ask.spot) for ask in ledger.asks if ask.how == "isinstance"]
        looked_at += [(part.container, part.spot) for part in ledger.parts if _is_kind(part.key)]
        self._handed_on |= {(spot.function, o.value) for value, spot in looked_at for o in options(value)}

    def has(self, write: KeyWrite) -> bool:
        """Is the layer tested for a class of PEFT, or is there no other that has such a table?"""
        owner = _path(write.container).rpartition(".")[0]
        if not isinstance(write.container, Place) or owner == "self":
            return False
        known = (write.spot.function, owner) in self._tested
        return known or (not self._own and "peft" in write.spot.file.libraries)

    def resembles(self, write: KeyWrite) -> bool:
        """Does the file know layers with tables of factors by adapter, as those of PEFT have them?"""
        owner = _path(write.container).rpartition(".")[0]
        out_of_sight = isinstance(write.container, Place) and owner not in ("", "self")
        return out_of_sight and not self._own and self._factors[write.spot.file.filename] >= FACTORS

    @cached_property
    def _factors(self) -> dict[str, set[str]]:
        """The sides of the factors that things out of sight hold by the names of adapters, by files."""
        found: dict[str, set[str]] = defaultdict(set)
        entries: list[KeyRead | KeyWrite] = [*self._ledger.reads, *self._ledger.writes]
        for entry in entries:
            owner, _, field = _path(entry.container).rpartition(".")
            side = key_role_of(Text((field,)))
            if owner and side is not None and side in FACTORS:
                found[entry.spot.file.filename].add(side)
        return found

    def reads(self, write: KeyWrite) -> list[KeyRead]:
        """Where the function of a write reads entries of a table."""
        return self._reads.get(write.spot.function, [])

    @cached_property
    def _reads(self) -> dict[FunctionInfo | None, list[KeyRead]]:
        found: dict[FunctionInfo | None, list[KeyRead]] = defaultdict(list)
        for read in self._ledger.reads:
            if read.how not in ("in", "del") and table_of(read) is not None:
                found[read.spot.function].append(read)
        return dict(found)

    def rescales(self, write: KeyWrite) -> bool:
        """Does the function multiply what is in the table, or something by it, or may it do so?"""
        function = write.spot.function
        if any(
            read.how != "all" and (function, read.value) not in self._handed_on for read in self.reads(write)
        ):
            return True
        return function in self._rescaling

    @cached_property
    def _rescaling(self) -> frozenset[FunctionInfo | None]:
        """The functions that multiply an entry of a table, or something by it."""
        entries = (
            spot.function
            for scale, spot in every_number(self._ledger)
            if any(is_entry(symbol) for symbol, _ in scale.powers)
            and (len(scale.powers) > 1 or scale.coefficient != 1)
        )
        folds = (
            fold.spot.function
            for fold in self._ledger.folds
            if any(symbol.role == SCALING for symbol, _ in fold.scale.powers)
        )
        return frozenset((*entries, *folds))


def _path(value: Value) -> str:
    return value.path if isinstance(value, Place) else ""


def _is_kind(key: Value) -> bool:
    """Is it what kind of tensor it is that is asked for, and not what the tensor holds?"""
    return isinstance(key, Text) and key.literal in ("device", "dtype", "shape")


def _is_peft(kinds: Value) -> bool:
    names = [getattr(kind, "name", "") for kind in (kinds.items if isinstance(kinds, Tup) else (kinds,))]
    return any(name.startswith("peft.") or name.rpartition(".")[2] in PEFT_LAYERS for name in names)
