"""Fields whose value is not the one that the constructor gave."""

from __future__ import annotations

import ast
from functools import lru_cache

from lorascale_lint.knowledge.roles import STRENGTH, role_of
from lorascale_lint.linking.definitions import ClassInfo, FunctionInfo
from lorascale_lint.provenance.fields import filled_from_outside
from lorascale_lint.provenance.heap import ABSENT, Entries, Items
from lorascale_lint.provenance.machine import Machine
from lorascale_lint.provenance.scale import ONE, Scale
from lorascale_lint.provenance.values import (
    Const,
    Number,
    Place,
    Ref,
    Tensor,
    Union,
    Value,
    options,
)


def is_fresh(value: Value) -> bool:
    return isinstance(value, Tensor) and value.kind == "fresh"


def open_containers(m: Machine, made: Ref) -> None:
    """Lists and dictionaries that start empty are filled by somebody, maybe out of sight."""
    for _, value in m.heap.of(made.key):
        if isinstance(value, Ref) and value.kind in ("list", "dict"):
            slot = "items" if value.kind == "list" else "entries"
            held = m.heap.read(value.key, slot)
            if isinstance(held, Items) and not held.values:
                m.heap.write(value.key, slot, Items((), True))
            elif isinstance(held, Entries) and not held.pairs:
                m.heap.write(value.key, slot, Entries((), True))


@lru_cache(maxsize=20_000)
def _written(info: FunctionInfo) -> frozenset[str]:
    """Names of the attributes that a function sets."""
    nodes = (node for node in info.nodes if isinstance(node, ast.Attribute))
    return frozenset(node.attr for node in nodes if isinstance(node.ctx, ast.Store))


def open_flags(m: Machine, cls: ClassInfo, made: Ref) -> None:
    """A flag that some method or code beside the class sets has any value when another method asks for it."""
    flags = [slot for slot, value in m.heap.of(made.key) if isinstance(slot, str) and is_flag(value)]
    if not flags:
        return
    written = set(filled_from_outside(cls.file))
    for item in m.program.mro(cls):
        for name, info in item.methods.items():
            written |= _written(info) if name != "__init__" else set()
    for flag in flags:
        if flag in written:
            m.heap.write(made.key, flag, Place(f"self.{flag}"))


def open_strengths(m: Machine, cls: ClassInfo, made: Ref) -> None:
    """A strength that is 1 when the object is made, and that its methods leave alone, is for users to set."""
    for slot, value in m.heap.of(made.key):
        if is_start(value) and isinstance(slot, str) and _is_strength(m, cls, slot):
            m.heap.write(made.key, slot, Place(f"self.{slot}", STRENGTH, True))


def settable(m: Machine, cls: ClassInfo | None, name: str, value: Value) -> Value:
    """What is read of a field: a strength for users to set, where one caller in sight gives 1 for it."""
    if m.initialising or cls is None or not is_start(value) or not _is_strength(m, cls, name):
        return value
    return Place(f"self.{name}", STRENGTH, True) if value == Number(ONE) else value


def _is_strength(m: Machine, cls: ClassInfo, name: str) -> bool:
    return role_of(name, m.speaks(None, cls.file, cls)) == STRENGTH


def is_flag(value: object) -> bool:
    """Is it True, False, or not set yet, on every way?"""
    return isinstance(value, Value) and all(
        option.value is ABSENT or (isinstance(option.value, Const) and isinstance(option.value.value, bool))
        for option in options(value)
    )


def is_start(value: object) -> bool:
    return isinstance(value, Number) and value.scale.constant is not None


def is_buffer(value: object) -> bool:
    """Is it a tensor that was made of ones or zeros, and got no role by its name?"""
    return isinstance(value, Tensor) and value.kind in ("mask", "fresh") and not value.learned


def only_strength(m: Machine, cell: object, value: object) -> bool:
    """Is this a table as it was, times a number that a user gives, or a gate that is held in bounds?"""
    before = m.heap.cells.get(cell)  # type: ignore[call-overload]
    if isinstance(before, Tensor) and before.kind in ("fresh", "number") and before.learned:
        return isinstance(value, Tensor) and value.kind == before.kind  # a gate that is held in bounds
    if before is None or not isinstance(value, Entries | Place):
        return False
    return _scales(value) <= _scales(before) and before != value


def of_itself(cell: object, value: object) -> bool:
    """Are the entries of a table made of its own entries, so that they would grow with each look?"""
    if not isinstance(value, Entries) or not isinstance(cell, tuple):
        return False
    match cell[0]:
        case ("place", str() as path):
            return any(_holds(item, f"{path}[") for _, item in value.pairs)
        case _:
            return False


def _holds(value: Value, path: str) -> bool:
    return any(
        isinstance(option.value, Number)
        and len(option.value.scale.powers) > 1
        and any(symbol.origin.startswith(path) for symbol, _ in option.value.scale.powers)
        for option in options(value)
    )


def _scales(value: object) -> frozenset[object]:
    """The scales that a field or the entries of a dictionary hold, without what a user gives."""
    match value:
        case Number(scale=scale):
            kept = tuple(p for p in scale.powers if p[0].role not in ("strength", "multiplier"))
            return frozenset([Scale(scale.coefficient, kept).by_role()])
        case Union(options=options):
            return frozenset(
                found for option in options if option.value is not ABSENT for found in _scales(option.value)
            )
        case Entries(pairs=pairs):
            return frozenset(found for _, item in pairs for found in _scales(item))
        case _:
            return frozenset([value])


def is_state(value: object) -> bool:
    """Worth to remember from a method that may have run before: no merged weight, no batch."""
    if isinstance(value, Tensor):
        return value.kind not in ("adapted", "data", "half", "base", "delta", "norm", "mask") and not (
            value.kind == "magnitude" and value.scale.powers
        )
    if isinstance(value, Place):
        return value.role is not None or "." not in value.path
    if isinstance(value, Union):
        return all(is_state(option.value) for option in value.options if option.value is not ABSENT)
    return value is not None
