"""Methods of lists, tuples and dictionaries."""

from __future__ import annotations

from lorascale_lint.provenance import sets
from lorascale_lint.provenance.containers import any_of, held_as, item_of, remove_item, spread
from lorascale_lint.provenance.heap import ABSENT, Entries, Items
from lorascale_lint.provenance.lookups import is_certain, match_entry, with_entry, without_absent
from lorascale_lint.provenance.machine import Machine
from lorascale_lint.provenance.marks import REST
from lorascale_lint.provenance.meanings import by_name
from lorascale_lint.provenance.scale import Scale
from lorascale_lint.provenance.tensors import number
from lorascale_lint.provenance.tuples import packed
from lorascale_lint.provenance.values import (
    NONE,
    UNKNOWN,
    Number,
    Ref,
    Tensor,
    Text,
    Tup,
    Union,
    Value,
    join,
)


def of_list(m: Machine, value: Ref, name: str, args: list[Value]) -> Value:
    held = m.heap.read(value.key, "items")
    if not isinstance(held, Items):
        return UNKNOWN
    match name:
        case "append" | "add" | "appendleft" if args:
            path = m.heap.read(value.key, "<path>")
            if path and isinstance(args[0], Tensor) and args[0].kind == "fresh":
                args = [by_name(m, str(path), args[0], value)]
            m.heap.write(value.key, "items", Items((*held.values, args[0]), held.open))
        case "insert" if len(args) > 1:
            m.heap.write(value.key, "items", Items((args[1], *held.values), True))
        case "extend" | "update" if args:
            values, others = spread(m, args[0])
            m.heap.write(value.key, "items", Items((*held.values, *values), held.open or others))
        case "pop":
            if held.values:
                index = number(args[0]) if args else Number(Scale.of("")) if held.open else None
                place = (
                    -1
                    if index is None
                    else int(index.scale.constant)
                    if index.scale.constant is not None
                    else None
                )
                if place is not None and not held.open and -len(held.values) <= place < len(held.values):
                    values_ = list(held.values)
                    found = values_.pop(place)
                    m.heap.write(value.key, "items", Items(tuple(values_)))
                    return found
                return any_of(held.values)
        case "difference" | "intersection" | "union" if len(args) == 1:
            other = m.elements(args[0])
            return UNKNOWN if other is None else sets.METHODS[name](m, (list(held.values), held.open), other)
        case "copy":
            return m.new_list(list(held.values), held.open)
        case "clear":
            m.heap.write(value.key, "items", Items())
        case "index" | "count":
            return UNKNOWN
        case "sort" | "reverse" | "remove" | "discard":
            m.heap.write(value.key, "items", Items(held.values, True))
        case _:
            return UNKNOWN
    return NONE


def of_tuple(m: Machine, value: Tup, name: str, args: list[Value]) -> Value:
    if name == "_asdict":
        return UNKNOWN
    return UNKNOWN


def of_dict(m: Machine, value: Ref, name: str, args: list[Value], named: dict[str, Value]) -> Value:
    entries = m.heap.read(value.key, "entries")
    if not isinstance(entries, Entries):
        return UNKNOWN
    match name:
        case "get" | "pop" | "get_tensor" if args:
            default = args[1] if len(args) > 1 else named.get("default", NONE)
            found = match_entry(entries, args[0])
            if name == "pop":
                remove_item(m, value, args[0])
            if found is None:
                if entries.open:
                    return item_of(m, value, args[0])
                return default
            if isinstance(found, Union) and any(o.value is ABSENT for o in found.options):
                return join([(default if o.value is ABSENT else o.value, o.guards) for o in found.options])
            if found is not ABSENT and default != NONE and not is_certain(entries, args[0]):
                return join([(found, ()), (default, ())])
            return default if found is ABSENT else found
        case "setdefault" if args:
            found = match_entry(entries, args[0])
            if isinstance(found, Ref):
                return found  # what is grouped under names cut out of keys meets in one group
            if (
                found is not None
                and found is not ABSENT
                and any(pair[0] == args[0] for pair in entries.pairs)
            ):
                return without_absent(found)
            made = args[1] if len(args) > 1 else NONE
            m.heap.write(value.key, "entries", with_entry(entries, args[0], made))
            return made
        case "update":
            for key, item in named.items():
                if key != REST:
                    entries = with_entry(entries, Text((key,)), item)
            entries = Entries(entries.pairs, entries.open or REST in named)
            if (
                args
                and isinstance(args[0], Ref)
                and isinstance(more := m.heap.read(args[0].key, "entries"), Entries)
            ):
                for key_, item in more.pairs:
                    held = held_as(m, value, key_, item)
                    entries = with_entry(entries, key_, held)
                entries = Entries(entries.pairs, entries.open or more.open)
            elif args:
                entries = Entries(entries.pairs, True)
            m.heap.write(value.key, "entries", entries)
            return NONE
        case "items" | "values" if len(groups := _groups(m, entries)) > 1:
            return of_dict(m, _one_group(m, value, entries, groups), name, args, named)
        case "items":
            return m.new_list([packed([k, without_absent(v)]) for k, v in entries.pairs], entries.open)
        case "values":
            return m.new_list([without_absent(v) for _, v in entries.pairs], entries.open)
        case "keys":
            return m.new_list([k for k, _ in entries.pairs], entries.open)
        case "copy":
            return m.new_dict(list(entries.pairs), entries.open)
        case "clear":
            m.heap.write(value.key, "entries", Entries())
            return NONE
        case "popitem":
            return Tup(entries.pairs[-1]) if entries.pairs else UNKNOWN
        case "to" | "cuda" | "cpu" | "named_parameters" | "parameters":
            return value
        case _:
            return UNKNOWN


def _groups(m: Machine, entries: Entries) -> list[tuple[Text, Ref]]:
    """Dictionaries under names that were cut out of keys: several cuts make the same name."""
    found = []
    for key, value in entries.pairs:
        held = without_absent(value)
        if isinstance(key, Text) and key.literal is None and isinstance(held, Ref) and held.kind == "dict":
            found.append((key, held))
    return found


def _one_group(m: Machine, whole: Ref, entries: Entries, groups: list[tuple[Text, Ref]]) -> Ref:
    """The dictionary with all its groups as one, in which each entry may be missing."""
    joined: list[tuple[Value, Value]] = []
    for _, group in groups:
        held = m.heap.read(group.key, "entries")
        joined += held.pairs if isinstance(held, Entries) else ()
    pairs: list[tuple[Value, Value]] = [(key, join([(value, ()), (ABSENT, ())])) for key, value in joined]
    names = {key for key, _ in groups}
    rest = [pair for pair in entries.pairs if pair[0] not in names]
    m.heap.write(whole.key, "entries", Entries(((groups[0][0], m.new_dict(pairs)), *rest), True))
    return whole


def may_be_more(m: Machine, value: Value) -> bool:
    """May other rounds of a loop put more into a list or dictionary than the one that was seen?"""
    if not isinstance(value, Ref):
        return False
    entries = m.heap.read(value.key, "entries")
    pairs = entries.pairs if isinstance(entries, Entries) else ()
    if any(isinstance(key, Text) and key.literal is None for key, _ in pairs):
        return True
    return any(m.heap.changed_in(depth, (value.key, "items")) for depth in m.frame.repeats)
