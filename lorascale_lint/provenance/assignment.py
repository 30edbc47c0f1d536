"""Where a value is put: names, attributes, entries, and their unpacking."""

from __future__ import annotations

import ast

from lorascale_lint.immutable import replace
from lorascale_lint.knowledge.roles import A, B
from lorascale_lint.provenance.arithmetic import operand
from lorascale_lint.provenance.containers import item_at, store_item, store_slice
from lorascale_lint.provenance.machine import Machine
from lorascale_lint.provenance.meanings import named
from lorascale_lint.provenance.numbers import bound
from lorascale_lint.provenance.objects import store_attribute
from lorascale_lint.provenance.states import is_buffer
from lorascale_lint.provenance.tensors import number
from lorascale_lint.provenance.values import UNKNOWN, Ref, Tensor, Value, each, join, options


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
            held = m.evaluate(owner)
            filled = _filled(held, value) if isinstance(owner, ast.Name | ast.Attribute) else None
            if filled is not None:
                assign(m, owner, filled)
            elif isinstance(key, ast.Slice):
                store_slice(m, held, value, target)
            else:
                store_item(m, held, m.evaluate(key), value, target)
                known = number(value) if is_buffer(held) else None
                if known is not None and known.scale.powers:
                    assign(m, owner, known)  # ones and zeros with a place for each adapter's number
        case _:
            pass


def _filled(held: Value, value: Value) -> Value | None:
    """What a tensor is into which a product or a factor is put, where it held nothing or such a one."""
    tensors = [option.value for option in options(held)]
    put = [option.value for option in options(value)]
    kinds = {one.kind if isinstance(one, Tensor) else "" for one in put}
    if len(kinds) != 1 or not kinds <= {"delta", "half", A, B}:
        return None
    if not all(isinstance(one, Tensor) and one.kind in ("fresh", *kinds) for one in tensors):
        return None
    made = each(value, lambda one: replace(one, dims=()))
    kept = [one for one in tensors if isinstance(one, Tensor) and one.kind in kinds]
    return join([*((one, ()) for one in kept), (made, ())])


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
