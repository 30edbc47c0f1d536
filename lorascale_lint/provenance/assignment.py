"""Where a value is put: names, attributes, entries, and their unpacking."""

from __future__ import annotations

import ast

from lorascale_lint.provenance.arithmetic import operand
from lorascale_lint.provenance.containers import item_at, store_item
from lorascale_lint.provenance.machine import Machine
from lorascale_lint.provenance.meanings import named
from lorascale_lint.provenance.numbers import bound
from lorascale_lint.provenance.objects import store_attribute
from lorascale_lint.provenance.values import UNKNOWN, Ref, Value


def assign(m: Machine, target: ast.expr, value: Value) -> None:
    """Bind a name, unpack, or store into an attribute or an entry."""
    match target:
        case ast.Name(id=name):
            m.frame.names.local[name] = held = named(m, value, name)
            bound(m, target, name, held)
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            _unpack(m, parts, value)
        case ast.Starred(value=inner):
            assign(m, inner, value)
        case ast.Attribute(value=owner, attr=name):
            store_attribute(m, m.evaluate(owner), name, value, target)
        case ast.Subscript(value=owner, slice=key):
            if isinstance(key, ast.Slice):
                m.evaluate(owner)
                return
            store_item(m, m.evaluate(owner), m.evaluate(key), value, target)
        case _:
            pass


def _unpack(m: Machine, parts: list[ast.expr], value: Value) -> None:
    star = next((i for i, part in enumerate(parts) if isinstance(part, ast.Starred)), None)
    count = len(parts)
    value = operand(value)  # who unpacks it knows that it is not None
    if isinstance(value, Ref) and value.kind == "dict":
        value = UNKNOWN  # it was taken for a dictionary of tensors, and is a row
    if star is None:
        for index, part in enumerate(parts):
            assign(m, part, item_at(m, value, index))
        return
    held = m.elements(value)
    if held is None or held[1]:
        for part in parts:
            assign(m, part, UNKNOWN if not isinstance(part, ast.Starred) else m.new_list([], True))
        return
    items = held[0]
    tail = count - star - 1
    for index, part in enumerate(parts[:star]):
        assign(m, part, items[index] if index < len(items) else UNKNOWN)
    assign(m, parts[star], m.new_list(items[star : len(items) - tail]))
    for index, part in enumerate(parts[star + 1 :]):
        place = len(items) - tail + index
        assign(m, part, items[place] if 0 <= place < len(items) else UNKNOWN)
