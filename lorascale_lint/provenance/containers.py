"""Elements of tuples, lists, dictionaries and things out of sight."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from fractions import Fraction
from functools import partial

from lorascale_lint.immutable import replace
from lorascale_lint.knowledge.roles import FACTORS, NUMBERS, STRENGTHS, A, B, role_of
from lorascale_lint.ledger.entries import KeyWrite
from lorascale_lint.provenance import keys
from lorascale_lint.provenance.heap import Entries, Items
from lorascale_lint.provenance.literals import of_match
from lorascale_lint.provenance.lookups import (
    any_in,
    entry,
    entry_by_name,
    is_made,
    learn,
    path_of,
    place_entry,
    row,
    shown,
    with_entry,
    without_absent,
)
from lorascale_lint.provenance.machine import Machine, hole
from lorascale_lint.provenance.marks import ENTRY, PART, WALKED
from lorascale_lint.provenance.meanings import by_name, load_entry
from lorascale_lint.provenance.objects import load_attribute
from lorascale_lint.provenance.scale import EARLIER, ONE, Scale, of_round
from lorascale_lint.provenance.shapes import extent, tensor_item
from lorascale_lint.provenance.tensors import number
from lorascale_lint.provenance.values import (
    UNKNOWN,
    Closure,
    Const,
    Element,
    Hole,
    Klass,
    Library,
    Matched,
    Method,
    Number,
    Place,
    Ref,
    Tensor,
    Text,
    Tup,
    Union,
    Value,
    each,
    is_one,
    join,
    one_of,
    options,
    some_of,
)


def item_of(m: Machine, value: Value, key: Value) -> Value:
    """``value[key]``."""
    match value:
        case Tup() | Ref(kind="list"):
            index = number(key)
            if index is not None and index.scale.constant is not None:
                return item_at(m, value, int(index.scale.constant))
            held = m.elements(value)
            return any_of(held[0]) if held is not None and held[0] else Element(value)
        case Ref(kind="dict"):
            found = entry(m, value, key)
            if found is not None:
                return each(without_absent(found), partial(_asked_for, key=key))
            factory = m.heap.read(value.key, "<factory>")
            if factory is not None:
                made = m.call(factory, [], [], None)
                store_item(m, value, key, made, ast.Pass(lineno=0))
                return made
            path = m.heap.read(value.key, "<path>")
            role = keys.role_in(key) if isinstance(key, Text) else None
            if role is None and path:
                return entry_by_name(m, str(path))
            return Place(f"{ENTRY}{shown(key)}", role)
        case Ref(kind="object", cls=cls) if cls is not None:
            found_method = m.program.method(cls, "__getitem__")
            if found_method is not None:
                given = m.call(Closure(found_method[0], value, owner=found_method[1]), [key], [], None)
                return each(given, partial(_asked_for, key=key))
            index = number(key)
            if m.heap.read(value.key, "<fields>") and index is not None and index.scale.constant is not None:
                return item_at(m, value, int(index.scale.constant))
            return load_entry(m, value, key)
        case Text():
            index, text = number(key), value.literal
            at = None if index is None else index.scale.constant
            if text and at is not None and at.denominator == 1 and -len(text) <= at < len(text):
                return Text((text[int(at)],))
            return keys.derived(value, "letter", str(key))
        case Number():
            return value  # one of a row of such numbers
        case Place():
            return place_entry(m, value, key)
        case Tensor():
            return tensor_item(m, value, key)
        case Method(receiver=receiver, name="shape"):
            return extent(m, receiver, key)
        case Element():
            index = number(key)
            if index is not None and index.scale.constant is not None:
                return item_at(m, value, int(index.scale.constant))
            return Place(
                f"{path_of(value.source)}[*][{shown(key)}]",
                keys.role_in(key) if isinstance(key, Text) else None,
            )
        case Matched():
            return of_match(m, value, "group", [key])
        case Library(name=name) if isinstance(key, Number | Text) and name.rpartition(".")[2].islower():
            return place_entry(m, Place(name.rpartition(".")[2]), key)  # sys.argv[1], os.environ["ALPHA"]
        case Klass() | Library():
            return value  # Generic[T]
        case Const(value=None):
            return UNKNOWN
        case _:
            return UNKNOWN


def _asked_for(value: Value, key: Value) -> Value:
    """What was put in under a key that nobody knows, or is read out of sight, is what it is asked for as."""
    if not isinstance(value, Place) or value.role is not None or not isinstance(key, Text):
        return value
    role = keys.role_in(key)
    if role is None or not (value.made == "call" or value.under is not None):
        return value
    return Place(f"{value.path}[{shown(key)}]", role)


def item_at(m: Machine, value: Value, index: int) -> Value:
    """``value[index]`` for a literal index; also what unpacking gives."""
    match value:
        case Union():
            return each(value, lambda one: item_at(m, one, index))
        case Tup(items=items) if -len(items) <= index < len(items):
            return items[index]
        case Ref(kind="list", key=key):
            held = m.heap.read(key, "items")
            if isinstance(held, Items):
                if not held.open and -len(held.values) <= index < len(held.values):
                    return held.values[index]
                if held.open and held.values:
                    return any_of(held.values)
        case Ref(kind="object"):
            fields = m.heap.read(value.key, "<fields>")
            if fields and -len(fields) <= index < len(fields):
                return load_attribute(m, value, fields[index])
        case Ref(kind="dict"):
            return item_of(m, value, Number(Scale(Fraction(index))))
        case Method(receiver=receiver, name="shape"):
            return extent(m, receiver, Number(Scale(Fraction(index))))
        case Tensor(kind=kind, origin=origin) if kind in (A, B) or origin == PART:
            return value
        case Tensor(kind="base" | "delta" | "adapted"):
            return tensor_item(m, value, Number(Scale(Fraction(index))))
        case Place():
            return place_entry(m, value, Number(Scale(Fraction(index))))
        case Element(source=source):
            return Place(f"{path_of(source)}[*][{index}]")
        case _:
            pass
    return UNKNOWN


def store_item(m: Machine, base: Value, key: Value, value: Value, node: ast.AST) -> None:
    """``base[key] = value``."""
    if isinstance(key, Union):
        for option in key.options:
            store_item(m, base, option.value, value, node)
        return
    learn(m, key, value)
    if m.recording and not isinstance(base, Union):
        name = m.heap.read(base.key, "<path>") if isinstance(base, Ref) else None
        m.ledger.writes.append(
            KeyWrite(m.spot(node), base, key, row(m, value), m.frame.guards, str(name or ""))
        )
    match base:
        case Ref(kind="dict"):
            entries = m.heap.read(base.key, "entries")
            if isinstance(entries, Entries):
                if isinstance(value, Ref) and isinstance(key, Text) and is_made(m, entries, key, value):
                    return  # `if name not in groups: groups[name] = {}`, where another key made the group
                loop = _loop_around(m, base, node)
                if loop is not None:
                    value = each(value, partial(of_earlier, loop))
                m.heap.write(base.key, "entries", with_entry(entries, key, held_as(m, base, key, value)))
        case Ref(kind="list"):
            held, index = m.heap.read(base.key, "items"), number(key)
            if isinstance(held, Items):
                place = None if index is None or index.scale.constant is None else int(index.scale.constant)
                if place is not None and not held.open and -len(held.values) <= place < len(held.values):
                    values = list(held.values)
                    values[place] = value
                    m.heap.write(base.key, "items", Items(tuple(values)))
                else:
                    m.heap.write(base.key, "items", Items((*held.values, value), True))
        case Ref(kind="object", cls=cls) if cls is not None:
            found = m.program.method(cls, "__setitem__")
            if found is not None:
                m.call(Closure(found[0], base, owner=found[1]), [key, value], [], None)
            else:
                entries = m.heap.read(base.key, "entries") or Entries((), True)
                m.heap.write(base.key, "entries", with_entry(entries, key, value))
        case Place(path=path) if is_one(base):
            if isinstance(value, Place) and value == place_entry(m, base, key):
                return  # `sd[key] = sd[key].to(dtype)`: what other keys hold is none of this
            entries = m.heap.read(("place", path), "entries") or Entries((), True)
            if base.role in FACTORS:  # a layer made here is what the dictionary of layers is called
                value = by_name(m, path.rpartition(".")[2], value, base)
            m.heap.write(("place", path), "entries", with_entry(entries, key, value))
        case Union(options=found):
            for option in found:
                store_item(m, option.value, key, value, node)
        case _:
            pass


def store_slice(m: Machine, base: Value, value: Value, node: ast.AST) -> None:
    """``base[:rank] = value`` of a factor: the first rows of a place for several ranks."""
    of = base.kind if isinstance(base, Tensor) else base.role if isinstance(base, Place) else None
    if m.recording and of in FACTORS:
        m.ledger.writes.append(KeyWrite(m.spot(node), base, UNKNOWN, row(m, value), m.frame.guards))


def _loop_around(m: Machine, base: Ref, node: ast.AST) -> int | None:
    """Row of the outermost loop that ``base`` is older than, of ``if key not in base: base[key] = ...``.

    The entry that an earlier round has put there stays, and may be another one.
    """
    if not isinstance(node, ast.Subscript) or not m.frame.loops:
        return None
    asked = m.atom_in(node.slice, node.value)
    if (asked, False) not in m.frame.guards:
        return None
    return next((row for row, born in m.frame.loops if born >= base.key), None)


def of_earlier(loop: int, value: Value, how: str = EARLIER) -> Value:
    """A number as that of an earlier round of the loop in row ``loop``."""
    if isinstance(value, Number):
        return replace(value, scale=value.scale.of_earlier(of_round(how, loop)))
    if isinstance(value, Place) and value.role in NUMBERS:
        return replace(value, path=of_round(how, loop) + value.path)
    return value


def held_as(m: Machine, base: Ref, key: Value, value: Value) -> Value:
    """``value`` as an entry of ``base``: a tensor made here becomes what its key or dictionary is called."""
    if not any(isinstance(o.value, Tensor) and o.value.kind == "fresh" for o in options(value)):
        return value
    literal = key.literal if isinstance(key, Text) else None
    name = literal if literal and role_of(literal, m.frame.lora) else m.heap.read(base.key, "<path>")
    return by_name(m, str(name), value, base) if name else value


def remove_item(m: Machine, base: Value, key: Value) -> Value:
    """``base.pop(key)`` or ``del base[key]``; what was there."""
    found = item_of(m, base, key)
    if isinstance(base, Ref) and base.kind == "dict":
        entries = m.heap.read(base.key, "entries")
        if isinstance(entries, Entries):
            kept = tuple(pair for pair in entries.pairs if pair[0] != key)
            m.heap.write(base.key, "entries", Entries(kept, entries.open))
    return found


def element_of(m: Machine, source: Value) -> Value:
    """What a loop variable is while something of unknown length is walked."""
    made = _element_of(m, source)
    for part in made.parts if isinstance(made, Text) else ():
        if isinstance(part, Hole):  # another loop knew something of its key, this one does not yet
            m.heap.write(("text", part.name), "has", frozenset())
    if isinstance(made, Tup) and made.items and isinstance(made.items[0], Text):
        for part in made.items[0].parts:
            if isinstance(part, Hole):
                m.heap.write(("text", part.name), "has", frozenset())
    return made


def any_of(values: Sequence[Value]) -> Value:
    """One of a row, nobody knows which."""
    return _without_fillers(join([(value, ()) for value in values]))


def _without_fillers(value: Value) -> Value:
    """A row of strengths that is filled up with 1 where a person gave too few holds strengths, 1 or not."""
    kept = some_of(value, lambda one: one != Number(ONE))
    return one_of(kept) if any(_is_strength(option.value) for option in kept) else value


def _is_strength(value: Value) -> bool:
    known = number(value)
    powers = known.scale.powers if known is not None else ()
    return bool(powers) and all(symbol.role in STRENGTHS for symbol, _ in powers)


def spread(m: Machine, value: Value) -> tuple[list[Value], bool]:
    """What ``[*value]`` holds, and whether there may be more."""
    held = m.elements(value)
    if held is not None:
        return held
    return ([element_of(m, value)] if isinstance(value, Place | Union) else []), True


def _is_empty(m: Machine, value: Value) -> bool:
    held = m.elements(value) if isinstance(value, Ref | Tup) else None
    return held is not None and not held[0] and not held[1]


def _element_of(m: Machine, source: Value) -> Value:
    match source:
        case Union():
            filled = [option for option in source.options if not _is_empty(m, option.value)]  # `table or {}`
            found = [(element_of(m, option.value), option.guards) for option in filled or source.options]
            return _without_fillers(join(found))
        case Ref(kind="list") | Tup():
            held = m.elements(source)
            if held is not None and held[0]:
                return any_of(held[0])
            path = m.heap.read(source.key, "<path>") if isinstance(source, Ref) else None
            return entry_by_name(m, str(path)) if path else Element(source)
        case Ref(kind="dict"):
            held = m.elements(source)
            return (
                join([(value, ()) for value in held[0]])
                if held is not None and held[0]
                else hole(("key of", source.key))
            )
        case Method(receiver=receiver, name="keys()"):
            return hole(("key of", path_of(receiver)))
        case Method(receiver=Place() as receiver, name="items()"):
            key = hole(("key of", receiver.path))
            return Tup((key, place_entry(m, receiver, key)))
        case Method(receiver=Place() as receiver, name="values()"):
            return Place(f"{receiver.path}[*]", receiver.role, receiver.weak)
        case Method(
            receiver=Place() as receiver, name="named_modules()" | "named_parameters()" | "named_children()"
        ):
            return Tup((hole(("name in", receiver.path)), Place(f"{receiver.path}.{WALKED}")))
        case Place():
            return any_in(source)
        case Tensor():
            return source
        case _:
            return Element(source)
