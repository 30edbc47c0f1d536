"""Tensors that an operation makes from nothing: zeros, start values, parameters, masks."""

from __future__ import annotations

import ast

from lorascale_lint.immutable import replace
from lorascale_lint.provenance.machine import Machine
from lorascale_lint.provenance.scale import ONE
from lorascale_lint.provenance.shapes import extents
from lorascale_lint.provenance.tensors import number, tensor
from lorascale_lint.provenance.values import UNKNOWN, Number, Tensor, Text, Value

_NAMED = ("create_parameter", "add_weight", "get_parameter")
"""Operations that make a parameter, or give it, by a name: keras, paddle, haiku, torch."""


def zeros(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    """A tensor of zeros."""
    return Tensor("fresh", zero=name != "zeros_", dims=extents(m, name, args, keywords))


def fresh(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    """A tensor of start values, or a parameter known by the name that it is given."""
    if name in ("rand", "rand_like"):
        return Tensor("mask")
    learned = name in ("param", *_NAMED)
    if name in ("full", "full_like") and len(args) > 1:
        filled = number(args[1])
        if filled is not None and filled.scale.powers:
            return Number(filled.scale)
    if name == "param" and args and isinstance(args[0], Text) and args[0].literal:
        place = m.place(args[0].literal)
        known = tensor(place)
        return known if known is not None else Tensor("fresh", learned=True, origin=args[0].literal)
    if name in _NAMED and isinstance(keywords.get("name", args[0] if args else None), Text):
        text = keywords.get("name", args[0] if args else UNKNOWN)
        place = m.place(text.literal or "weight") if isinstance(text, Text) else UNKNOWN
        known = tensor(place)
        if known is not None and known.kind != "base":
            return known
    return Tensor("fresh", learned=learned, dims=extents(m, name, args, keywords))


def start_value(value: Value) -> Value:
    """What is trained from here on: the spread of its start values is no scale."""
    if isinstance(value, Tensor) and value.kind == "fresh":
        return replace(value, scale=ONE)
    return value


def mask(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    """Ones and zeros that choose elements."""
    return Tensor("mask")
