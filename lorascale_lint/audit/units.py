"""What is measured of one weight: its rows with the deltas that belong there, made when their turn comes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lorascale_lint.adapters.floats import FLOATS, Array
from lorascale_lint.adapters.products import Full, LowRank, NotMade, Product, product_of
from lorascale_lint.adapters.tensors import Reader, Stored
from lorascale_lint.audit.plan import Delta, Given, Task, shape_text, unjudged
from lorascale_lint.audit.replay import Shape, ways
from lorascale_lint.audit.terms import Term, Unit
from lorascale_lint.audit.verdicts import Judgement

_MAGNITUDES = ("lora_magnitude_vector", "dora_scale", "magnitude")
# Up to here the cube of a scale is a float32.
_EXTREME = 1e12


def make_units(
    task: Task, given: Sequence[Given], reader: Reader
) -> tuple[list[Unit], list[Judgement], list[tuple[int, int]]]:
    """The units of one weight, what can't be judged of it, and the rows that no delta reaches."""
    assert task.base is not None
    refused: list[Judgement] = []
    made: list[tuple[Delta, Term, Array | None, Shape]] = []
    for delta in task.deltas:
        try:
            made.append((delta, *_term(delta, task.base, given, reader)))
        except NotMade as reason:
            refused.append(unjudged(delta.module.name, str(reason), task.merged.name))
    if refused:
        # What another delta of the same weight adds would be taken for a mistake.
        refused += [
            unjudged(delta.module.name, "another delta of the same weight can't be made", task.merged.name)
            for delta, *_ in made
        ]
        return [], refused, []
    try:
        ranges = _ranges(task, made)
    except NotMade as reason:
        return [], [unjudged(delta.module.name, str(reason), task.merged.name) for delta, *_ in made], []
    units: list[Unit] = []
    reached = np.zeros(task.base.rows, np.bool_)
    for (first, last), members in sorted(ranges.items(), key=lambda item: item[0]):
        if reached[first:last].any():
            detail = "its rows and those of another module overlap"
            return [], [unjudged(delta.module.name, detail, task.merged.name) for delta, *_ in made], []
        reached[first:last] = True
        shapes = {shape for _, _, _, shape in members}
        if len(members) > 1 and shapes != {Shape.SUM}:
            refused += [
                unjudged(delta.module.name, "several deltas on a weight that DoRA norms", task.merged.name)
                for delta, *_ in members
            ]
            continue
        units.append(_unit(task, given, first, last, members))
    edges = np.flatnonzero(np.diff(np.concatenate([[True], reached, [True]]).astype(np.int8)))
    return units, refused, [(int(first), int(last)) for first, last in edges.reshape(-1, 2)]


def _unit(
    task: Task,
    given: Sequence[Given],
    first: int,
    last: int,
    members: Sequence[tuple[Delta, Term, Array | None, Shape]],
) -> Unit:
    assert task.base is not None
    (delta, term, magnitude, shape), *more = members
    factor = next(iter(term.module.factors.keys.values()))
    for role in ("up", "lokr_w1", "lokr_w1_a", "hada_w1_a", "diff"):
        factor = term.module.factors.keys.get(role, factor)
    dtype = given[delta.adapter].tensors[factor].dtype
    possible = ways(
        task.base.dtype,
        task.merged.dtype,
        dtype if dtype in FLOATS else "F32",
        several=bool(more) or shape is not Shape.SUM,
    )
    name = term.module.name if delta.roles == "weight" else f"{term.module.name} ({delta.roles})"
    return Unit(
        name,
        task.base,
        task.merged,
        first,
        last,
        tuple(item[1] for item in members),
        possible,
        shape,
        magnitude,
    )


def _ranges(
    task: Task, made: Sequence[tuple[Delta, Term, Array | None, Shape]]
) -> dict[tuple[int, int], list[tuple[Delta, Term, Array | None, Shape]]]:
    """The deltas by the rows that they belong to. Raises NotMade."""
    assert task.base is not None
    total = task.base.rows
    heights: dict[tuple[int, int | None], int] = {
        (delta.adapter, delta.place.part): term.product.shape[0]
        for delta, term, *_ in made
        if delta.place.part is not None
    }
    found: dict[tuple[int, int], list[tuple[Delta, Term, Array | None, Shape]]] = {}
    for item in made:
        delta, term = item[:2]
        height = term.product.shape[0]
        if delta.place.rows is not None:
            first, last = delta.place.rows
        elif delta.place.part is None:
            first, last = 0, total
        else:
            first = _start(delta, heights, height, total)
            last = first + height
        if not 0 <= first < last <= total or last - first != height:
            raise NotMade(f"its {height} rows are not rows {first} to {last} of {total} of `{task.name}`")
        found.setdefault((first, last), []).append(item)
    return found


def _start(delta: Delta, heights: Mapping[tuple[int, int | None], int], height: int, total: int) -> int:
    part, parts = delta.place.part, delta.place.parts
    assert part is not None
    known = {other: size for (adapter, other), size in heights.items() if adapter == delta.adapter}
    if all(other in known for other in range(part)):
        return sum(known[other] for other in range(part))
    if all(other in known for other in range(part, parts)):
        return total - sum(known[other] for other in range(part, parts))
    raise NotMade(f"which rows of the fused `{delta.place.tensor}` are its own is not known")


def _term(
    delta: Delta, base: Stored, given: Sequence[Given], reader: Reader
) -> tuple[Term, Array | None, Shape]:
    item = given[delta.adapter]
    module = delta.module
    rows, columns = base.rows, base.columns
    scale = module.scale
    if scale is None:
        raise NotMade(f"the trained scale is not known (alpha {module.alpha})")
    for value in (scale, scale * item.strength):
        if value and not 1 / _EXTREME < abs(value) < _EXTREME:
            raise NotMade(f"a scale of {value:.3g} is beyond float32 with a mistake in it")
    if delta.roles != "weight":
        bias = reader.whole(item.tensors[module.factors.keys[delta.roles]])
        scale = 1.0 if delta.roles == "diff_b" else scale
        product: Product = Full(bias.reshape(1, -1))
    else:
        made = product_of(item.adapter, module, reader)
        product = made.transposed if delta.turned and isinstance(made, LowRank) else made
    if delta.place.part is None and delta.place.rows is None and product.shape != (rows, columns):
        raise NotMade(
            f"its delta is {product.shape[0]} x {product.shape[1]}, `{base.name}` is {shape_text(base)}"
        )
    if product.shape[1] != columns:
        raise NotMade(f"its delta has {product.shape[1]} columns, `{base.name}` has {columns}")
    term = Term(delta.adapter, module, product, scale * item.strength, item.strength, delta.sure)
    if not module.dora or delta.roles != "weight":
        return term, None, Shape.SUM
    return term, *_magnitude(delta, item, product, reader)


def _magnitude(delta: Delta, item: Given, product: Product, reader: Reader) -> tuple[Array, Shape]:
    module = delta.module
    key = next((module.factors.keys[role] for role in _MAGNITUDES if role in module.factors.keys), None)
    if key is None:
        raise NotMade("its settings say DoRA, but there is no magnitude")
    values = reader.whole(item.tensors[key])
    long = [size for size in values.shape if size > 1]
    if len(long) > 1:
        raise NotMade(f"a magnitude of {values.shape} is not known")
    if item.strength != 1 and not key.endswith(("lora_magnitude_vector", "lora_magnitude_vector.weight")):
        raise NotMade("how a strength acts on this kind of DoRA is not replayed")
    rows, columns = product.shape
    by_column = (
        values.ndim > 1 and values.shape[0] == 1 and values.shape[1] > 1 and key.endswith("dora_scale")
    )
    by_column |= delta.turned
    if values.size != (columns if by_column else rows):
        raise NotMade(f"a magnitude of {values.size} does not fit a delta of {rows} x {columns}")
    return values.ravel(), Shape.COLUMNS if by_column else Shape.ROWS
