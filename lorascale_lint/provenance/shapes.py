"""Attributes and parts of tensors."""

from __future__ import annotations

from fractions import Fraction

from lorascale_lint.immutable import replace
from lorascale_lint.knowledge.operations import PARTS
from lorascale_lint.provenance.machine import Machine
from lorascale_lint.provenance.marks import PART
from lorascale_lint.provenance.meanings import rank_number
from lorascale_lint.provenance.scale import Scale
from lorascale_lint.provenance.tensors import number, tensor
from lorascale_lint.provenance.values import UNKNOWN, Method, Number, Place, Tensor, Text, Value, each


def tensor_attribute(m: Machine, value: Tensor, name: str) -> Value:
    """``tensor.name``."""
    if name in ("data", "value", "weight", "kernel", "base_layer", "_parameters", "params", "array"):
        return replace(value, module=False) if name in ("weight", "kernel") else value
    if value.origin == PART and name in PARTS:
        return value
    if name in ("T", "mT", "H"):
        return replace(value, transposed=not value.transposed, dims=tuple(reversed(value.dims)))
    if name in ("out_features", "out_channels", "embedding_dim", "output_size") and value.module:
        return _dim(value, 0)
    if name in ("in_features", "in_channels", "num_embeddings", "input_size") and value.module:
        return _dim(value, 1)
    if name == "bias" and value.kind == "B":
        return Tensor("bias", origin=f"{value.origin}.bias")
    if name == "is_meta":
        return UNKNOWN
    if name in (
        "bias",
        "grad",
        "dtype",
        "device",
        "ndim",
        "is_cuda",
        "requires_grad",
        "quant_state",
        "kernel_size",
        "stride",
        "padding",
    ):
        return Place(f"{value.origin or value.kind}.{name}")
    return Method(value, name)


SHAPE = ".shape"
"""How the origin of an extent ends of which nothing more is known."""
NDIM_OF_ALPHA = Number(Scale(Fraction(0)))
"""A file's alpha is a single number: kohya, ComfyUI."""


def _dim(value: Tensor, index: int) -> Value:
    if len(value.dims) > index:
        return value.dims[index]
    if (value.kind, index) in (("A", 0), ("B", 1)):
        return rank_number(value.origin)
    return Number(Scale.of("", f"an extent of {value.origin or value.kind}"))


def extent(m: Machine, receiver: Value, key: Value) -> Value:
    """``receiver.shape[key]``."""
    return each(receiver, lambda value: _extent(value, key))


def _extent(receiver: Value, key: Value) -> Value:
    found = tensor(receiver)
    index = number(key)
    if found is None or index is None or index.scale.constant is None:
        path = receiver.path if isinstance(receiver, Place) else "?"
        return Number(Scale.of("", f"{path}{SHAPE}"))
    place = int(index.scale.constant)
    if found.dims and -len(found.dims) <= place < len(found.dims):
        return found.dims[place]
    if found.kind in ("A", "B"):
        if place == 2:
            return Number(Scale.of("extent", f"2 of {found.kind} <{found.origin}>"))
        if place not in (0, 1, -1, -2):
            return Number(Scale.of("", f"extent {place} of {found.origin or found.kind}"))
        if place == -1 and not found.transposed and found.kind == "A" and not found.module:
            place = 1
        axis = place % 2 if not found.transposed else 1 - place % 2
        role = "rank" if (found.kind, axis) in (("A", 0), ("B", 1)) else "extent"
        others = " and others" if axis in found.joined else ""  # not the extent of the first part
        return Number(Scale.of(role, f"{axis} of {found.kind} <{found.origin}{others}>"))
    if found.kind == "half":
        return rank_number(found.origin) if place == -1 else Number(Scale.of("", "an extent"))
    return Number(Scale.of("", f"an extent of {found.origin or found.kind}"))


def tensor_item(m: Machine, value: Tensor, key: Value) -> Value:
    """``tensor[key]``: rows of a factor are that factor."""
    if value.kind in ("A", "B", "half", "delta", "base", "adapted", "kronecker", "magnitude"):
        return replace(value, dims=())
    if value.kind in ("fresh", "data"):
        return replace(value, dims=())
    return value


def extents(m: Machine, name: str, args: list[Value], keywords: dict[str, Value]) -> tuple[Value, ...]:
    if name.endswith("_like"):
        return ()
    if name.startswith("new_"):
        args = args[1:]
    named = keywords.get("shape", keywords.get("size"))
    rows = (
        argument for argument in args if not isinstance(argument, Text) and m.elements(argument) is not None
    )
    given = next(rows, named or (args[0] if args else None))  # behind a key or bounds: jax, mlx, numpy
    if given is None:
        return ()
    held = m.elements(given)
    if held is not None:
        return tuple(held[0])
    if len(args) > 1 and any(number(size) is not None for size in args):
        return tuple(args)
    return (given,) if number(given) is not None else ()
