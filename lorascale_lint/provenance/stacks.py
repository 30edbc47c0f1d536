"""Tensors that are put side by side: the factors of fused layers, of several adapters."""

from __future__ import annotations

import ast

from lorascale_lint.immutable import replace
from lorascale_lint.knowledge.operations import CONCATENATES, JOINS
from lorascale_lint.provenance.arithmetic import first_given
from lorascale_lint.provenance.machine import Machine
from lorascale_lint.provenance.scale import Scale
from lorascale_lint.provenance.tensors import number, tensor
from lorascale_lint.provenance.values import Place, Tensor, Value, each, join, options


def stack(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    """Several tensors as one."""
    spread = name == "block_diag"  # several arguments, or a list with a star
    given = m.new_list(args) if spread else first_given(args, keywords)
    held = m.elements(given)
    if held is None or not held[0]:
        return Tensor("data", origin=name)
    made = _stacked(name, held)
    if isinstance(made, Tensor) and made.kind in ("A", "B") and (held[1] or len(held[0]) > 1 or spread):
        scales = (known.scale for value in held[0] if (known := tensor(value)) is not None)
        return replace(made, joined=_axes(name, args, keywords), parts=tuple(scales))
    return made


def _axes(name: str, args: list[Value], keywords: dict[str, Value]) -> frozenset[int]:
    """The axes along which an operation puts tensors of two extents side by side."""
    if name in JOINS:
        return JOINS[name]
    given = keywords.get("dim", keywords.get("axis", args[1] if len(args) > 1 else None))
    known = None if given is None else number(given)
    if name not in CONCATENATES or (given is not None and (known is None or known.scale.constant is None)):
        return frozenset()
    axis = 0 if known is None or known.scale.constant is None else int(known.scale.constant)
    return frozenset([axis % 2])


_OF_SEVERAL = Scale.of("", "factors of several adapters")


def _as_one(value: Value) -> Value:
    """A factor that has one scale or another is a factor, at a scale that is not known."""
    found = [option.value for option in options(value)]
    first = found[0]
    alike = isinstance(first, Tensor) and all(isinstance(v, Tensor) and v.kind == first.kind for v in found)
    if len(found) == 1 or not alike or not isinstance(first, Tensor) or first.kind not in ("A", "B"):
        return value
    return replace(first, scale=_OF_SEVERAL, dims=())


def _stacked(name: str, held: tuple[list[Value], bool]) -> Value:
    known = [_as_one(each(value, lambda v: tensor(v) or v)) for value in held[0]]
    first = known[0]
    named_ = [v for v in known if isinstance(v, Tensor) and v.kind in ("A", "B")]
    others = [v for v in known if v not in named_]
    if (
        len(named_) == 1
        and others
        and all(
            isinstance(v, Place) or (isinstance(v, Tensor) and v.kind in ("data", "fresh")) for v in others
        )
    ):
        return replace(
            named_[0], dims=()
        )  # beside factors of something else: a quantisation residual, another adapter
    if all(isinstance(v, Tensor) for v in known):
        kinds = {v.kind for v in known if isinstance(v, Tensor)}
        scales = {v.scale for v in known if isinstance(v, Tensor) and v.kind != "fresh"}
        if len(kinds - {"fresh"}) == 1 and len(scales) == 1:
            return replace(
                next(v for v in known if isinstance(v, Tensor) and (v.kind != "fresh" or len(kinds) == 1)),
                dims=(),
            )
        if len(kinds) == 1 and isinstance(first, Tensor):
            return replace(first, scale=_OF_SEVERAL, dims=())
        return Tensor("data", origin=name)
    return join([(v, ()) for v in known]) if len(known) == 1 else Tensor("data", origin=name)
