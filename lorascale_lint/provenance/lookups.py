"""Entries of containers: reading and writing them by key, and how a key is shown."""

from __future__ import annotations

import ast
from typing import Any

from lorascale_lint.bounds import NAME_LIMIT, PATH_LIMIT
from lorascale_lint.knowledge.interfaces import ADAPTER_FIELDS, DECIDES_SCALE
from lorascale_lint.knowledge.layer_names import is_part_of_unet
from lorascale_lint.knowledge.roles import DELTA, FACTORS, NUMBERS, role_of
from lorascale_lint.ledger.entries import KeyRead, KeyWrite, Spread
from lorascale_lint.provenance import keys
from lorascale_lint.provenance.heap import ABSENT, Entries
from lorascale_lint.provenance.machine import Machine, hole
from lorascale_lint.provenance.values import (
    UNKNOWN,
    Alternative,
    Const,
    Hole,
    Number,
    Place,
    Ref,
    Tensor,
    Text,
    Tup,
    Union,
    Value,
    join,
)


def presence(key: Value, path: str) -> str:
    """The condition that what is called ``path`` has an entry under ``key``."""
    return f"{shown(key)} in {path}"


def path_of(value: Value) -> str:
    return value.path if isinstance(value, Place) else "?"


def as_text(m: Machine, value: Value) -> Text:
    """``str(value)``."""
    match value:
        case Text():
            return value
        case Number(scale=scale) if scale.constant is not None:
            shown = scale.constant
            return Text((str(int(shown)) if shown.denominator == 1 else str(float(shown)),))
        case Const():
            return Text((str(value.value),))
        case Union(options=found):
            texts = {as_text(m, option.value) for option in found}
            return (
                texts.pop()
                if len(texts) == 1
                else Text((Hole(keys.short_name("one of", tuple(sorted(map(str, texts))))),))
            )
        case Place(path=path):
            return hole(path)
        case _:
            return hole(value)


def wrote(m: Machine, node: ast.AST, container: Value, key: Value, value: Value) -> None:
    """Writes an entry that a display, a comprehension or ``update`` makes into the ledger."""
    learn(m, key, value)
    if m.recording:
        m.ledger.writes.append(KeyWrite(m.spot(node), container, key, row(m, value), m.frame.guards))


def learn(m: Machine, key: Value, value: Value) -> None:
    """A key that says nothing by itself says what the project puts under it: a factor that a layer holds."""
    found = value if isinstance(value, Tensor) and value.kind in FACTORS and "." in value.origin else None
    tail = key.parts[-1] if isinstance(key, Text) and key.parts else None
    if (
        found is None
        or not isinstance(key, Text)
        or not isinstance(tail, str)
        or keys.role_in(key) is not None
    ):
        return
    known = m.heap.read(_LEARNED, tail)
    if known != found.kind:
        with m.aside():
            m.heap.write(_LEARNED, tail, found.kind if known is None else "")


_LEARNED = ("place", "the ends of keys")


def learned(m: Machine, path: str, tail: object) -> str | None:
    """What the project puts under keys with this end, for a path into a file."""
    known = m.heap.read(_LEARNED, tail) if isinstance(tail, str) and path.startswith("file(") else None
    return known if known in FACTORS else None


def took_all(m: Machine, node: ast.AST | None, container: Value, source: Value) -> None:
    """Writes down that a dictionary gets all that another one holds."""
    if m.recording and node is not None:
        m.ledger.spreads.append(Spread(m.spot(node), container, source))


def row(m: Machine, value: Value) -> Value:
    """A list as the row of what it holds now: the ledger outlives the heap."""
    if isinstance(value, Ref) and value.kind == "list":
        held = m.elements(value)
        return Tup(tuple(held[0])) if held is not None else value
    return value


def join_one(value: Value) -> tuple[Any, ...]:
    """``value`` as its only alternative."""

    return (Alternative(value),)


def may_be_absent(value: Value) -> bool:
    return value is ABSENT or (isinstance(value, Union) and any(o.value is ABSENT for o in value.options))


def read_entry(m: Machine, node: ast.AST, base: Value, key: Value, found: Value, how: str) -> None:
    """Writes the reading of an entry into the ledger, under each text that the key may be."""
    if not m.recording:
        return
    texts = [o.value for o in key.options if isinstance(o.value, Text)] if isinstance(key, Union) else []
    for one in (key,) if isinstance(key, Text | Place) else dict.fromkeys(texts):
        m.ledger.reads.append(KeyRead(m.spot(node), base, one, found, how, m.frame.guards))


def read_all(m: Machine, node: ast.AST | None, base: Value) -> None:
    """Writes into the ledger that a table of numbers is copied or walked as a whole."""
    if m.recording and node is not None and isinstance(base, Place) and base.role in NUMBERS:
        m.ledger.reads.append(KeyRead(m.spot(node), base, UNKNOWN, base, "all", m.frame.guards))


def read_part(m: Machine, node: ast.AST, owner: Value, name: str, found: Value) -> None:
    """Writes the reading of an attribute that a configuration of an adapter has into the ledger."""
    if name in DECIDES_SCALE:
        read_entry(m, node, owner, Text((name,)), found, "attribute")
    if name in ADAPTER_FIELDS and m.recording and not isinstance(owner, Ref | Tensor):
        m.ledger.parts.append(KeyRead(m.spot(node), owner, Text((name,)), found, "attribute", m.frame.guards))


def any_in(source: Place) -> Value:
    """What a loop over something out of sight gives."""
    if source.path.startswith("key of "):
        return hole(source.path)
    if source.made == "state dict":
        return hole(("key of", source.path))
    return Place(f"{source.path}[*]", source.role, source.weak)


def entry_by_name(m: Machine, path: str) -> Place:
    """An element of a list or dictionary that is filled out of sight, by the name of that."""
    place = m.place(path)
    return Place(f"{path}[*]", place.role, place.weak)


def lacks(m: Machine, value: Value, key: Value) -> bool:
    if not isinstance(value, Ref) or value.kind != "dict" or m.heap.read(value.key, "<factory>") is not None:
        return False
    entries = m.heap.read(value.key, "entries")
    return isinstance(entries, Entries) and not entries.open and match_entry(entries, key) is None


def place_entry(m: Machine, value: Place, key: Value) -> Value:
    """An entry of something out of sight: what was stored there, else what its key says."""
    if isinstance(key, Place) and key.role is None and key.path.endswith("[*]"):
        key = hole(key.path)  # an element of what is walked, used as a key
    cell = m.heap.read(("place", value.path), "entries")
    if isinstance(cell, Entries):
        found = match_entry(cell, key)
        if found is not None:
            stored = without_absent(found)
            is_file = value.made == "state dict"
            other = is_file and keys.is_any(key) and all(kept != key for kept, _ in cell.pairs)
            # Beside what was put there, whatever it held before is met on a walk.
            return join([(_unseen_entry(m, value, key), ()), (stored, ())]) if other else stored
    return _unseen_entry(m, value, key)


def _learned(m: Machine, value: Place, key: Value) -> str | None:
    return learned(m, value.path, key.parts[-1]) if isinstance(key, Text) and key.parts else None


def _unseen_entry(m: Machine, value: Place, key: Value) -> Place:
    if isinstance(key, Text) and key.literal and is_part_of_unet(key.literal, m.frame.file.source):
        return Place(f"{value.path}[{key.literal}]"[-PATH_LIMIT:], value.role, value.weak)
    role = (keys.role_in(key) if isinstance(key, Text) else None) or _learned(m, value, key)
    weak = False
    own = role is not None
    if role is None and not (
        isinstance(key, Text) and key.literal and value.role not in ("scaling", "alpha", "rank")
    ):
        role, weak = value.role, value.weak
    if role is None and isinstance(key, Text) and key.literal:
        role = role_of(key.literal, m.frame.lora)
        weak = True
    if role in (None, "base") and value.role in ("A", "B") and not (role is None and value.weak):
        role, weak = value.role, value.weak  # the entry of an adapter, by its name
    holes = [part for part in key.parts if isinstance(part, Hole)] if isinstance(key, Text) else []
    # A dictionary that is called after deltas may hold factors: what its keys say counts.
    open_ = role is None or (role == DELTA and not own)
    under = holes[0].name if len(holes) == 1 and open_ else None
    return Place(f"{value.path}[{shown(key)}]"[-PATH_LIMIT:], role, weak, under)


def shown(key: Value) -> str:
    match key:
        case Text(parts=parts):
            return "".join(p if isinstance(p, str) else f"{{{str(p.name)[:NAME_LIMIT]}}}" for p in parts)
        case Number(scale=scale):
            return scale.formula()
        case Place(path=path):
            return path
        case _:
            return "*"


def entry(m: Machine, value: Ref, key: Value) -> Value | None:
    entries = m.heap.read(value.key, "entries")
    return match_entry(entries, key) if isinstance(entries, Entries) else None


def match_entry(entries: Entries, key: Value) -> Value | None:
    """What is stored under ``key`` or under what may be the same key; None if there is no such entry."""
    perhaps: list[tuple[Value, Any]] = []
    for stored, value in reversed(entries.pairs):
        if stored == key:
            return value
        if isinstance(stored, Text) and isinstance(key, Text):
            equal = keys.may_equal(stored, key)
            if equal is True:
                return value
            if equal is None:
                perhaps.append((value, ()))
        elif isinstance(stored, Number) and isinstance(key, Number):
            if stored.scale.constant is None or key.scale.constant is None:
                perhaps.append((value, ()))
        elif (
            not isinstance(stored, Const) and not isinstance(key, Const) and type(stored) is not type(key)
        ) or not isinstance(stored, Const | Number | Text):
            perhaps.append((value, ()))
    return join(perhaps) if perhaps else None


def is_certain(entries: Entries, key: Value) -> bool:
    """Is something stored under this very key, whatever it is?"""
    return any(
        stored == key
        or (isinstance(stored, Text) and isinstance(key, Text) and keys.may_equal(stored, key) is True)
        for stored, _ in entries.pairs
    )


def without_absent(value: Value) -> Value:
    """``value`` where it is there."""
    if isinstance(value, Union):
        return join([(option.value, option.guards) for option in value.options if option.value is not ABSENT])
    return UNKNOWN if value is ABSENT else value


def is_made(m: Machine, entries: Entries, key: Text, value: Ref) -> bool:
    """Is an empty container put where one of its kind may be already?"""
    held = match_entry(entries, key)
    return isinstance(held, Ref) and key.literal is None and held.kind == value.kind and not _holds(m, value)


def _holds(m: Machine, value: Ref) -> bool:
    held = m.elements(value)
    return held is None or bool(held[0])


def with_entry(entries: Entries, key: Value, value: Value) -> Entries:
    """``entries`` with ``value`` under ``key``."""
    kept = tuple(pair for pair in entries.pairs if pair[0] != key)
    return Entries((*kept, (key, value)), entries.open)
