"""Texts that are known letter by letter: their methods are Python's own."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from lorascale_lint.bounds import TEXT_LIMIT
from lorascale_lint.knowledge.members import PLAIN_METHODS
from lorascale_lint.provenance.machine import Machine
from lorascale_lint.provenance.scale import Scale
from lorascale_lint.provenance.tensors import number
from lorascale_lint.provenance.values import UNKNOWN, Const, Matched, Number, Text, Tup, Value


def method(m: Machine, text: str, name: str, args: list[Value]) -> Value | None:
    """``text.name(*args)``; None for what is not known or not bounded."""
    plain = [plain_of(value) for value in args]
    if name not in PLAIN_METHODS or None in plain or len(text) > TEXT_LIMIT:
        return None
    try:
        made = getattr(text, name)(*plain)
    except (TypeError, ValueError, OverflowError):
        return None
    if isinstance(made, str) and len(made) > TEXT_LIMIT:
        return None
    return value_of(m, made)


def plain_of(value: Value) -> Any:
    """The text, whole number or row of texts that ``value`` is; None if it is not known."""
    match value:
        case Text():
            return value.literal
        case Tup(items=items):
            parts = tuple(plain_of(item) for item in items)
            return None if None in parts else parts
        case Const(value=bool() as flag):
            return flag
        case _:
            found = number(value)
            constant = None if found is None else found.scale.constant
            return int(constant) if constant is not None and constant.denominator == 1 else None


def value_of(m: Machine, made: Any) -> Value:
    """A result of Python as a value."""
    match made:
        case bool() | None:
            return Const(made)
        case str():
            return Text((made,)) if made else Text(())
        case int():
            return Number(Scale(Fraction(made)))
        case tuple():
            return Tup(tuple(value_of(m, item) for item in made))
        case list():
            return m.new_list([value_of(m, item) for item in made])
        case _:
            return UNKNOWN


def of_match(m: Machine, found: Matched, name: str, args: list[Value]) -> Value:
    """A method of a match."""
    match name:
        case "group" | "__getitem__" if args:
            made = [_group(m, found, value) for value in args]
            return made[0] if len(made) == 1 else Tup(tuple(made))
        case "group":
            return value_of(m, found.groups[0])
        case "groups":
            return value_of(m, found.groups[1:])
        case "groupdict":
            return m.new_dict(
                [(Text((key,)), value_of(m, found.groups[index])) for key, index in found.names]
            )
        case "start" | "end" | "span":
            index = plain_of(args[0]) if args else 0
            if isinstance(index, int) and 0 <= index < len(found.spans):
                start, end = found.spans[index]
                return value_of(m, {"start": start, "end": end}.get(name, (start, end)))
    return UNKNOWN


def _group(m: Machine, found: Matched, key: Value) -> Value:
    plain = plain_of(key)
    index = dict(found.names).get(plain) if isinstance(plain, str) else plain
    return (
        value_of(m, found.groups[index]) if isinstance(index, int) and index < len(found.groups) else UNKNOWN
    )
