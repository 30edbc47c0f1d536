"""Matrix products of factors: which is A, which is B, and how they lie."""

from __future__ import annotations

from lorascale_lint.immutable import replace
from lorascale_lint.knowledge.roles import CORE, GATE, KRONECKER, RANK, A, B, role_of, widens
from lorascale_lint.provenance.marks import KNOWN_DATA, NOTHING, OF_DELTA, OF_ONE_FACTOR, OF_WIDE
from lorascale_lint.provenance.scale import ONE, Scale
from lorascale_lint.provenance.tensors import number, rows_of, steps_of, tensor
from lorascale_lint.provenance.values import Number, Tensor, Value


def is_rank(value: Value) -> bool:
    """Is a number the rank, or one of equal shares of it (a multiple, for layers that are fused)?"""
    known = number(value)
    named = [] if known is None else [item for item in known.scale.powers if item[0].role]
    return len(named) == 1 and named[0][0].role == RANK and named[0][1] == 1


def side_by_extents(value: Tensor) -> str | None:
    """A (r x in) or B (out x r), by which of two extents is the rank."""
    first, second = is_rank(value.dims[0]), is_rank(value.dims[1])
    return None if first == second else A if first else B


def by_shape(value: Tensor) -> Tensor:
    """A nameless tensor or module made here, one of whose extents is the rank, as the factor that it is."""
    if value.kind == "fresh" and len(value.dims) >= 2 and value.module:
        first, second = is_rank(value.dims[0]), is_rank(value.dims[1])
        if first != second:
            return replace(value, kind=A if first else B)
    return value


def nameless(value: Value) -> Tensor:
    """A value in a product of which only that is known; ``x * scaling`` keeps its scale."""
    if isinstance(value, Number):
        named = [(symbol, power) for symbol, power in value.scale.powers if symbol.role]
        if len(value.scale.powers) - len(named) == 1:
            return Tensor(
                "data", Scale(value.scale.coefficient, tuple(named)), origin=value.scale.unknowns()[0]
            )
    return Tensor("data", origin=getattr(value, "path", ""))


def _normed(value: Tensor) -> Tensor:
    """What a norm with a weight of its own gives is an activation: ``weight * x * rsqrt(mean + eps)``."""
    powers = value.scale.powers
    if value.kind == "fresh" and value.learned and any(not s.role and p.denominator > 1 for s, p in powers):
        return Tensor("data", Scale(value.scale.coefficient, tuple(x for x in powers if x[0].role)))
    return value


def _layout(one: Tensor, two: Tensor, swap: bool) -> str:
    """Which way the factors lie, by the side of the product on which one of them stands."""
    if two.kind in (A, B):
        transposed = two.transposed != swap
        if one.kind in (A, B):  # B @ A, or A @ B where they lie the other way
            return "out_in" if (two.kind == A) != transposed else "in_out"
        return "out_in" if transposed else "in_out"
    if one.kind in (A, B):
        return "in_out" if one.transposed else "out_in"
    return ""


def _layout_by_sum(factor: Tensor, on_the_left: bool, swap: bool) -> str:
    """Which way the factors lie, by the axis over which the second one sums: that is the rank.

    What is called B may be the one that meets the activation.
    """
    last = not factor.transposed if on_the_left else factor.transposed != swap
    return "out_in" if last == (factor.kind == B) else "in_out"


def _is_crossed(delta: Tensor, swap: bool) -> bool:
    """Does an activation on the left meet the side of the delta that is its output?"""
    return delta.layout in ("out_in", "in_out") and ((delta.layout == "out_in") != delta.transposed) != swap


def _with_steps(made: Value, left: Value, right: Value) -> Value:
    """A product has been through what each of its factors has been through."""
    scaled = [value for value in (left, right) if isinstance(value, Tensor) and value.kind != "adapted"]
    steps = steps_of(scaled[0], scaled[-1]) if scaled else ()  # those of an input are its own affair
    return replace(made, steps=steps) if steps and isinstance(made, Tensor) else made


def product(left: Value, right: Value, *, ordered: bool = True, swap: bool = False) -> Value:
    """The matrix product ``left @ right``; ``swap`` for ``linear``, which transposes its weight."""
    return _with_steps(_product(left, right, ordered, swap), left, right)


def _product(left: Value, right: Value, ordered: bool, swap: bool) -> Value:
    one, two = tensor(left), tensor(right)
    if one is None and two is None:
        return Tensor("data", origin=NOTHING)
    one = by_shape(one) if one is not None else nameless(left)
    two = by_shape(two) if two is not None else nameless(right)
    one, two = _normed(one), _normed(two)
    kinds = (one.kind, two.kind)
    scale = _brought(one) * _brought(two)
    layout = one.layout or two.layout or (_layout(one, two, swap) if ordered else "")
    rows = rows_of(one, two)
    variant = one.variant if one.variant != "lora" else two.variant
    if set(kinds) == {"A", "B"}:
        origin = one.origin if one.kind == B else two.origin
        # A.T @ B.T is (B @ A).T; a convolution over A as channels is not, and both factors must say so.
        turned = ordered and layout == ("out_in" if one.kind == A else "in_out")
        turned = turned and _layout_by_sum(one, True, swap) == layout
        return Tensor(
            "delta",
            scale,
            space="weight",
            transposed=turned,
            rows=rows,
            variant=variant,
            layout=layout,
            origin=origin,
        )
    for a, b in ((one, two), (two, one)):
        if a.kind in (A, B):
            if b.kind == "half" and b.side == KRONECKER:
                return replace(b, side=a.kind, scale=scale, rows=rows, origin=a.origin)
            if b.kind == "half" and b.side == B and _is_wide(b, a, swap or a is one):
                return Tensor("data", origin=OF_WIDE)
            if b.kind == "half" and b.side != a.kind:
                if b.side == B and layout in ("out_in", "in_out"):
                    layout = _layout_by_sum(a, a is one, swap)
                return Tensor(
                    "delta", scale, space=b.space, rows=rows, variant=variant, layout=layout, origin=a.origin
                )
            if b.variant == CORE:
                return Tensor("half", scale, a.kind, "weight", rows=rows, variant=a.variant, origin=a.origin)
            if b.kind in ("data", "base", "adapted", "mask"):
                return Tensor(
                    "half",
                    scale,
                    a.kind,
                    "activation",
                    rows=rows,
                    variant=variant,
                    layout=layout,
                    origin=a.origin,
                )
            if b.kind == "fresh" and not b.module:
                learned = Scale.of(GATE, b.origin) if b.learned else ONE
                core = len(b.dims) == 2 and all(map(is_rank, b.dims))  # between the factors, as a weight
                space = "weight" if b.learned or core else "activation"
                return Tensor("half", scale * learned, side=a.kind, space=space, rows=rows, variant=variant)
            if b.kind == a.kind:
                return Tensor("data", origin=OF_ONE_FACTOR)
        if a.kind == "half" and b is two and b.zero and (made := _by_contraction(a, b, swap)) is not None:
            return replace(made, scale=scale, rows=rows, variant=variant)
        if a.kind == "half" and b.kind in ("data", "fresh", "half"):
            return replace(a, scale=scale, rows=rows)
        if a.kind == "delta" and b.kind in ("data", "base", "adapted", "fresh", "kronecker"):
            if b.kind == "kronecker":
                return replace(a, scale=scale, variant="lokr", rows=rows)
            met = b.kind != "fresh" and a.space == "weight"  # by an activation, and no matrix made here
            if ordered and a is two and met and _is_crossed(a, swap):
                layout = f"crossed {a.layout}"
            return replace(a, scale=scale, space="activation", rows=rows, layout=layout)
        if a.kind == "adapted" and b.kind not in (A, B, "delta"):
            return replace(a, space="activation")
    if set(kinds) == {"delta"}:  # of powers for a decomposition: LoHa's two meet element by element
        return Tensor("data", origin=OF_DELTA)
    if set(kinds) == {"kronecker"}:
        return Tensor("delta", scale, variant="lokr")
    for a, b in ((one, two), (two, one)):
        if a.kind == "kronecker" and role_of(a.origin.rpartition(".")[2], False) == KRONECKER:
            if b.kind == "half" and b.side == KRONECKER:
                return replace(b, kind="delta", side="", scale=scale, rows=rows)
            if b.kind == "data":  # an activation goes through one full matrix of LoKr after the other
                return Tensor(
                    "half", scale, KRONECKER, "activation", rows=rows, variant="lokr", origin=a.origin
                )
    shaped = _by_contraction(one, two, swap)
    if shaped is not None:
        return replace(shaped, scale=scale, rows=rows)
    if "base" in kinds:
        return Tensor("base", space="activation", origin=one.origin or two.origin)
    return Tensor("data", origin=_origin(one, two))


def _is_wide(first: Tensor, second: Tensor, last: bool) -> bool:
    """Do two layers lead up and then down, by what they are called or else by the extents of the second?

    ``last`` if it is the last axis of the second over which is summed: that is the rank, if one is.
    """
    dims = [is_rank(value) for value in second.dims] if len(second.dims) == 2 else [False, False]
    if dims[-1 if last else 0]:
        return False
    nameless = role_of(second.origin.rpartition(".")[2], True) is None
    return widens(first.origin, second.origin) or (nameless and any(dims))


def _origin(one: Tensor, two: Tensor) -> str:
    """Where a product comes from, of which nothing is known if that is so of one operand."""
    known = [value.origin for value in (one, two) if value.origin not in KNOWN_DATA]
    return next(filter(None, known), NOTHING) if known else one.origin


def _brought(value: Tensor) -> Scale:
    """What a tensor brings into a product; the scale of an adapted one is that of the delta in it."""
    if value.kind == "data" and value.learned and not value.rows:  # shares of experts, over which is summed
        return Scale.of(GATE, value.origin) * value.scale
    return ONE if value.kind == "adapted" else value.scale


def _by_contraction(one: Tensor, two: Tensor, swap: bool) -> Tensor | None:
    """What extents alone say: both tensors were made here, and the rank is summed over or left."""
    dims = tuple(reversed(two.dims)) if swap else two.dims
    both = one.kind == two.kind == "fresh" and len(one.dims) == len(dims) == 2
    if both and is_rank(one.dims[1]) and is_rank(dims[0]):
        return Tensor("delta")
    if two.kind == "fresh" and len(dims) == 2 and one.kind in ("data", "half", "mask"):
        if is_rank(dims[1]) and not is_rank(dims[0]) and one.kind == "data":
            return Tensor("half", side=A, space="activation")
        wide = not is_rank(dims[1]) and number(dims[1]) != Number(ONE)  # no core, no gate for each rank
        if is_rank(dims[0]) and wide and one.kind == "half":
            return Tensor("delta", space="activation")
    return None


def outer(left: Value, right: Value) -> Value:
    """``kron(left, right)`` of LoKr."""
    return _with_steps(_outer(left, right), left, right)


def _outer(left: Value, right: Value) -> Value:
    one, two = tensor(left), tensor(right)
    if one is None or two is None:
        return Tensor("data")
    known = [item for item in (one, two) if item.kind in ("delta", "kronecker")]
    if not known:
        return product(left, right)
    scale = one.scale * two.scale
    layout = one.layout or two.layout
    origin = one.origin or two.origin
    return Tensor("delta", scale, variant="lokr", rows=rows_of(one, two), layout=layout, origin=origin)
