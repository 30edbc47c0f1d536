"""What a thing out of sight is by its name, its key or its shape."""

from __future__ import annotations

from typing import Any

from lorascale_lint.immutable import replace
from lorascale_lint.knowledge.members import CALLED_BY_FRAMEWORK
from lorascale_lint.knowledge.roles import BASE, FACTORS, NUMBERS, STRENGTH, A, B, role_of, words
from lorascale_lint.provenance.guards import Guards
from lorascale_lint.provenance.heap import ABSENT, Entries, Items
from lorascale_lint.provenance.lookups import match_entry, place_entry, without_absent
from lorascale_lint.provenance.machine import Machine
from lorascale_lint.provenance.marks import MANY, PART
from lorascale_lint.provenance.products import by_shape, is_rank, side_by_extents
from lorascale_lint.provenance.scale import ONE, STAND_IN, Scale
from lorascale_lint.provenance.states import is_fresh
from lorascale_lint.provenance.tensors import number
from lorascale_lint.provenance.values import (
    NONE,
    Number,
    Place,
    Ref,
    Tensor,
    Tup,
    Union,
    Value,
    each,
    join,
)


def named(m: Machine, value: Value, name: str) -> Value:
    """``value`` under a new name: one that nobody knows anything of may get its role from it."""
    if isinstance(value, Ref):
        return value
    value = rank_for_alpha(m, value, name)
    if isinstance(value, Union):
        there = [option.value for option in value.options if option.value not in (NONE, ABSENT)]
        unknown = [one for one in there if not _is_literal(one)]  # beside a default that is written out
        alone = len(unknown) == 1 and (_is_nameless(unknown[0]) or _is_opaque(unknown[0]))
        return each(value, lambda one: named(m, one, name) if one is unknown[0] else one) if alone else value
    if isinstance(value, Number) and _is_opaque(value):
        role = role_of(name, m.frame.lora)
        role = STRENGTH if role == BASE else role  # one number is no weight of a model
        symbol = value.scale.powers[0][0]
        return replace(value, scale=Scale.of(role, symbol.origin)) if role in NUMBERS else value
    if isinstance(value, Place) and value.role is None and not value.path.startswith(MANY):
        role = role_of(name, m.frame.lora)
        if role in FACTORS and m.any_letter(name):
            return value
        if role is not None and role != "base" and not _is_input(m, value):
            return Place(value.path, role, True, made=value.made)
    if isinstance(value, Tensor) and value.kind in ("fresh", "data") and not value.origin:
        return Tensor(**{**_fields(value), "origin": name})
    if isinstance(value, Tensor) and value.kind == "data" and value.module is False:
        role = role_of(name, False)
        if role in ("A", "B"):
            return Tensor(role, origin=name)
    return value


def _is_nameless(value: Value) -> bool:
    return isinstance(value, Place) and value.role is None


def _is_opaque(value: Value) -> bool:
    """Is it one number that is as it came, and of which nobody knows what it means?"""
    powers = value.scale.powers if isinstance(value, Number) and value.scale.coefficient == 1 else ()
    return len(powers) == 1 and powers[0][1] == 1 and not powers[0][0].role and powers[0][0].is_named


def _is_literal(value: Value) -> bool:
    return isinstance(value, Number) and not value.scale.powers


def _is_input(m: Machine, value: Place) -> bool:
    """Is the value what a layer is given? ``lora_out = self.dropout(x)`` makes no delta of it."""
    function = m.frame.function
    inputs = function.parameters[1:2] if function is not None and function.owner is not None else []
    return function is not None and function.name in CALLED_BY_FRAMEWORK and value.path in inputs


def rank_for_alpha(m: Machine, value: Value, name: str) -> Value:
    """A rank that stands in for a missing alpha is that alpha (kohya's rule)."""
    if not isinstance(value, Union | Number | Place) or role_of(name, m.frame.lora) != "alpha":
        return value
    if not isinstance(value, Union) and getattr(value, "role", None) != "rank":
        return value
    return each(value, lambda one: _as_alpha(one))


def joined(ways: list[tuple[Value, Guards]]) -> Value:
    """Either of two values that one expression may have: a rank beside an alpha stands in for it."""
    known = [number(value) for value, _ in ways]
    if any(one is not None and one.scale.by_role() == Scale.of("alpha") for one in known):
        ways = [(_as_alpha(value), guards) for value, guards in ways]
    return join(ways)


def _as_alpha(value: Value) -> Value:
    known = number(value)
    if known is not None and known.scale.by_role() == Scale.of("rank"):
        origins = ", ".join(symbol.origin for symbol, _ in known.scale.powers)
        return Number(Scale.of("alpha", STAND_IN + origins))
    return value


def _fields(value: Tensor) -> dict[str, Any]:
    return {slot: getattr(value, slot) for slot in Tensor.__slots__}


def rank_number(origin: str = "") -> Number:
    """The rank, read off a factor's extent."""
    return Number(Scale.of("rank", origin))


def by_extents(value: Tensor) -> str | None:
    """The factor that a module made here is, by which of its extents is the rank."""
    found = by_shape(value)
    return found.kind if found.kind in ("A", "B") else None


def _is_matrix_of_model(value: Tensor) -> bool:
    """Is it a trained matrix, no extent of which is the rank?"""
    return value.learned and len(value.dims) == 2 and not any(is_rank(dim) for dim in value.dims)


def _by_last_word(name: str, value: Tensor, lora: bool) -> str | None:
    """The factor that a trained tensor is, one of whose extents is the rank: ``expert_a``, n x rank x in."""
    ranks = [dim for dim in value.dims if is_rank(dim)]
    parts = words(name)
    role = role_of(parts[-1], lora) if value.learned and len(ranks) == 1 and len(parts) > 1 else None
    return role if role in FACTORS else None


def _by_start(m: Machine, value: Tensor, owner: Value) -> str | None:
    """The factor that a trained matrix is, one extent of which is the rank, by how it starts.

    B starts at zero and A does not, whichever way they lie; with no A beside it, both may start at zero
    for somebody to fill. A column for each rank is none (AdaLoRA).
    """
    if not value.learned or value.module or len(value.dims) != 2:
        return None
    ranks = [dim for dim in value.dims if is_rank(dim)]
    other = [number(dim) for dim in value.dims if not is_rank(dim)]
    literal = any(known is not None and known.scale.constant is not None for known in other)
    if len(ranks) != 1 or literal:
        return None
    if not value.zero:
        return A
    held = m.heap.of(owner.key) if isinstance(owner, Ref) else ()
    return B if any(isinstance(other, Tensor) and other.kind == A for _, other in held) else None


def _is_magnitude(name: str, value: Tensor, lora: bool) -> bool:
    """Is a norm that a field keeps the magnitude of DoRA: by its name, or as a trained norm of the base?"""
    return role_of(name, lora) == "magnitude" or (value.learned and value.side == "base")


def by_name(m: Machine, name: str, value: Value, owner: Value) -> Value:
    """A tensor made here becomes what its field is called; unknown values get their role from the field."""
    lora = m.frame.lora
    holder = owner.cls if isinstance(owner, Ref) and owner.cls is not None else None
    if holder is None and isinstance(owner, Ref):
        holder = m.heap.read(owner.key, "<class>")
    origin = name if holder is None else f"{holder.name}.{name}"
    value = rank_for_alpha(m, value, name)
    if isinstance(value, Union):
        return join([(by_name(m, name, option.value, owner), option.guards) for option in value.options])
    if isinstance(value, Tensor) and value.kind == "fresh":
        role = role_of(name, lora)
        shaped = by_extents(value)
        if not value.scale.powers:
            value = replace(value, scale=ONE)  # the spread of an initialisation
        factor = (
            role
            if role in FACTORS
            else shaped or _by_last_word(name, value, lora) or _by_start(m, value, owner)
        )
        if factor is not None:  # whatever multiplies a start value is its spread, and no scale
            return Tensor(factor, module=value.module, dims=value.dims, origin=origin, learned=value.learned)
        if not value.learned and not value.module and words(name)[-1:] == ("mask",):
            return Tensor("mask", origin=origin)
        if role == "magnitude" and not value.module:
            return Tensor("magnitude", origin=origin, learned=True)
        if role == "kronecker":
            return Tensor("kronecker", origin=origin)
        if role == "base" and (value.module or _is_matrix_of_model(value)):
            return Tensor("base", module=value.module, dims=value.dims, origin=name)
        return Tensor(**{**_fields(value), "origin": name})
    if isinstance(value, Tensor) and value.origin == PART and value.kind == "data":  # start values
        held = isinstance(owner, Place) and name in ("data", "weight")
        role = owner.role if isinstance(owner, Place) and held else role_of(name, False)
        return Tensor(role, origin=origin, learned=value.learned) if role in ("A", "B") else value
    if isinstance(value, Tensor) and value.kind == "norm" and _is_magnitude(name, value, lora):
        return Tensor("magnitude", origin=origin, learned=True, length=value)
    if isinstance(value, Place) and value.role is None:
        role = role_of(name, lora)
        if role is not None:
            return Place(value.path, role, True, made=value.made)
    if isinstance(value, Ref) and value.kind in ("list", "dict"):
        _name_elements(m, name, value)
    if isinstance(value, Tup):
        return Tup(tuple(by_shape_alone(item) for item in value.items))
    if isinstance(value, Ref) and value.kind in ("dict", "list") and m.heap.read(value.key, "<path>") is None:
        m.heap.write(value.key, "<path>", name)
        if isinstance(owner, Ref) and owner.cls is not None:
            m.heap.write(value.key, "<class>", owner.cls)
    return value


def load_entry(m: Machine, value: Ref, key: Value) -> Value:
    """``value[key]`` of an object that is a dictionary by inheritance."""
    entries = m.heap.read(value.key, "entries")
    if isinstance(entries, Entries):
        found = match_entry(entries, key)
        if found is not None:
            return without_absent(found)
    path = m.heap.read(value.key, "<path>") or "object"
    return place_entry(m, Place(str(path)), key)


def _name_elements(m: Machine, name: str, value: Ref) -> None:
    """Tensors made here become what the list or dictionary that holds them is called."""
    held = m.heap.read(value.key, "items")
    if isinstance(held, Items):
        named = tuple(by_name(m, name, item, value) if is_fresh(item) else item for item in held.values)
        if named != held.values:
            m.heap.write(value.key, "items", Items(named, held.open))
    entries = m.heap.read(value.key, "entries")
    if isinstance(entries, Entries):
        pairs = tuple(
            (key, by_name(m, name, item, value) if is_fresh(item) else item) for key, item in entries.pairs
        )
        if pairs != entries.pairs:
            m.heap.write(value.key, "entries", Entries(pairs, entries.open))


def by_shape_alone(value: Value) -> Value:
    """A bare tensor of two extents, one of which is the rank, in the layout of torch."""
    if isinstance(value, Tensor) and value.kind == "fresh" and len(value.dims) == 2:
        side = side_by_extents(value)
        if side is not None:
            return replace(value, kind=side)
    return value
