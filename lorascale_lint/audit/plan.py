"""What is compared with what: each module's weight in both checkpoints, and whatever no adapter touches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lorascale_lint.adapters.adapter import Adapter, understand
from lorascale_lint.adapters.factors import Spelling
from lorascale_lint.adapters.floats import FLOATS, Array
from lorascale_lint.adapters.module import Module
from lorascale_lint.adapters.products import Full, LowRank, NotMade, Product, product_of
from lorascale_lint.adapters.source import read_source
from lorascale_lint.adapters.tensors import Reader, Stored, stored_tensors
from lorascale_lint.audit.checkpoint import Checkpoint
from lorascale_lint.audit.mapping import EMBEDDINGS, HEADS, Names, OwnRules, Place, place
from lorascale_lint.audit.measure import Term, Unit
from lorascale_lint.audit.replay import Shape, ways
from lorascale_lint.audit.verdicts import Judgement, Verdict
from lorascale_lint.errors import InputError

_MAGNITUDES = ("lora_magnitude_vector", "dora_scale", "magnitude")
_BIASES = ("lora_B.bias", "diff_b")
# Up to here the cube of a scale is a float32.
_EXTREME = 1e12


@dataclass(frozen=True, slots=True)
class Given:
    """One adapter file and the strength it was merged with."""

    adapter: Adapter
    strength: float
    tensors: Mapping[str, Stored]


@dataclass(frozen=True, slots=True)
class Delta:
    """One module on its way to a unit: its product is made when the unit is measured."""

    adapter: int
    module: Module
    roles: str  # "weight" or the role of a bias
    place: Place
    turned: bool = False  # the weight lies in x out
    sure: bool = True  # whether that is known


@dataclass(frozen=True, slots=True)
class Task:
    """One comparison that is to be made."""

    name: str
    base: Stored | None
    merged: Stored
    deltas: tuple[Delta, ...] = ()
    saved: tuple[int, str] | None = None  # a tensor of an adapter that takes the weight's place

    @property
    def size(self) -> int:
        """Bytes to read."""
        return self.merged.size + (0 if self.base is None else self.base.size)


@dataclass(slots=True)
class Plan:
    """All comparisons, what can't be compared, and how names were understood."""

    given: tuple[Given, ...]
    tasks: list[Task] = field(default_factory=list)
    judged: list[Judgement] = field(default_factory=list)
    rules: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    unplaced: int = 0  # modules that no rule puts anywhere


def open_adapter(path: Path, strength: float) -> Given:
    """Read an adapter's header and settings. Raises InputError."""
    file = path
    try:
        if path.is_dir():
            files = sorted(path.glob("*.safetensors"))
            if len(files) != 1:
                raise InputError(f"{path}: {len(files)} .safetensors files in it; name the adapter's file")
            (file,) = files
    except OSError as error:
        raise InputError(f"{path}: {error}") from None
    adapter = understand(read_source(file))
    return Given(adapter, strength, stored_tensors(adapter.source.header))


def make_plan(base: Checkpoint, merged: Checkpoint, given: Sequence[Given], own: OwnRules) -> Plan:
    """Join the names of the three. Raises InputError if a rule of one's own leads nowhere."""
    plan = Plan(tuple(given))
    names, merged_names = Names(base.tensors), Names(merged.tensors)
    counterparts = {name: merged_names.counterpart(name) for name in base.tensors}
    deltas: dict[str, list[Delta]] = {}
    tied: dict[str, Stored] = {}
    for index, item in enumerate(given):
        _place_modules(plan, index, item, names, merged, own, deltas, tied)
    saved = _saved(plan, given, names, deltas)
    used: set[str] = set()
    for name, stored in base.tensors.items():
        other = merged.tensors.get(counterparts[name] or "")
        adapted = name in deltas
        if other is None:
            if not adapted and _is_tied(name, base, merged):
                plan.notes.append(
                    f"`{name}` is not in the merged checkpoint: taken for tied to the embedding"
                )
                continue
            plan.judged.append(
                Judgement(
                    name,
                    name,
                    Verdict.MISSING,
                    adapted=adapted or name in saved,
                    modules=_modules(deltas, name),
                )
            )
            continue
        used.add(other.name)
        if stored.shape != other.shape:
            detail = f"{_shape(stored)} in the base, {_shape(other)} in the merged checkpoint"
            plan.judged.append(
                Judgement(
                    name,
                    other.name,
                    Verdict.OTHER_SHAPE,
                    detail,
                    adapted=adapted,
                    modules=_modules(deltas, name),
                )
            )
            continue
        if adapted:
            _add_adapted(plan, name, stored, other, deltas[name], given)
        else:
            plan.tasks.append(Task(name, stored, other, saved=saved.get(name)))
    for name, stored in tied.items():
        used.add(name)
        source = base.tensors[deltas[name][0].place.tensor]
        _add_adapted(plan, name, source, stored, deltas[name], given)
    for name, stored in merged.tensors.items():
        if name not in used:
            _add_unknown(plan, name, stored, merged, base)
    return plan


def _modules(deltas: Mapping[str, Sequence[Delta]], name: str) -> tuple[str, ...]:
    return tuple(delta.module.name for delta in deltas.get(name, ()))


def _shape(stored: Stored) -> str:
    return " x ".join(map(str, stored.shape)) or "one number"


def _unjudged(name: str, detail: str, tensor: str = "") -> Judgement:
    return Judgement(name, tensor, Verdict.NOT_JUDGED, detail, modules=(name,))


def _place_modules(
    plan: Plan,
    index: int,
    item: Given,
    names: Names,
    merged: Checkpoint,
    own: OwnRules,
    deltas: dict[str, list[Delta]],
    tied: dict[str, Stored],
) -> None:
    for name in item.adapter.broken:
        plan.judged.append(_unjudged(name, "its tensors make no delta"))
    places: list[tuple[Module, Place]] = []
    for module in item.adapter.modules:
        found = own.place(module.name, names) or place(module.name, names)
        if found is None:
            found = _tied_head(plan, module.name, names, merged, tied)
        if found is not None:
            places.append((module, found))
            continue
        plan.unplaced += 1
        plan.judged.append(_unjudged(module.name, "no rule finds a tensor of the base for it (see --map)"))
    flag = _fan_in_fan_out(item)
    shown = {module.name: _seen_turned(item, module, found, names) for module, found in places}
    # PEFT writes one flag for all layers, that of the last one.
    mixed = flag or True in shown.values()
    for module, found in places:
        plan.rules[found.rule] += 1
        target = found.tensor
        if found.rule.startswith(_TIED) and (head := _head_of(module.name, merged)):
            target = head
        roles = [role for role in _BIASES if role in module.factors.keys]
        if "diff_b" not in roles or len(module.factors.keys.keys() - {"diff_b", "alpha"}) > 0:
            seen = shown[module.name]
            turned = module.spelling is Spelling.EMBEDDING or (flag if seen is None else seen)
            sure = not mixed or seen is not None or module.spelling is Spelling.EMBEDDING
            deltas.setdefault(target, []).append(Delta(index, module, "weight", found, turned, sure))
        for role in roles:
            bias = f"{found.tensor.removesuffix('.weight')}.bias"
            if bias in names.tensors:
                deltas.setdefault(bias, []).append(Delta(index, module, role, found))
            else:
                plan.judged.append(_unjudged(module.name, f"the base has no `{bias}`"))


def _fan_in_fan_out(item: Given) -> bool:
    config: Mapping[str, object] = item.adapter.source.config or {}
    return config.get("fan_in_fan_out") is True


def _seen_turned(item: Given, module: Module, found: Place, names: Names) -> bool | None:
    """Whether a weight lies in x out, where its shape shows it; None for squares and parts of a tensor."""
    down, up = module.factors.shape("down"), module.factors.shape("up")
    stored = names.tensors[found.tensor]
    may_be = item.adapter.convention.name in ("peft", "peft-keys") or (
        # LoRAEmbedding of mlx-lm multiplies A by B as they are.
        item.adapter.convention.transposed
        and found.tensor.removesuffix(".weight").rpartition(".")[2] in EMBEDDINGS
    )
    if down is None or up is None or len(down) != 2 or len(up) != 2 or not may_be:
        return False if not may_be else None
    shape = (up[1], down[0]) if item.adapter.convention.transposed else (up[0], down[1])
    if shape[0] == shape[1]:
        return None
    return {shape: False, shape[::-1]: True}.get((stored.rows, stored.columns))


_TIED = "tied to the embedding"


def _embedding(tensors: Mapping[str, Stored]) -> str | None:
    found = [name for name in tensors if name.removesuffix(".weight").rpartition(".")[2] in EMBEDDINGS]
    return found[0] if len(found) == 1 else None


def _head_of(module: str, merged: Checkpoint) -> str | None:
    last = module.rpartition(".")[2]
    found = [name for name in merged.tensors if name.removesuffix(".weight").rpartition(".")[2] == last]
    return found[0] if len(found) == 1 else None


def _tied_head(
    plan: Plan, module: str, names: Names, merged: Checkpoint, tied: dict[str, Stored]
) -> Place | None:
    embedding = _embedding(names.tensors) if module.rpartition(".")[2] in HEADS else None
    if embedding is None:
        return None
    head = _head_of(module, merged)
    if head is None:
        plan.notes.append(f"`{module}` and `{embedding}` are one tensor in both checkpoints")
        return Place(embedding, _TIED)
    plan.notes.append(
        f"`{module}` is `{embedding}` in the base and a tensor of its own in the merged checkpoint"
    )
    tied[head] = merged.tensors[head]
    return Place(embedding, _TIED)


def _is_tied(name: str, base: Checkpoint, merged: Checkpoint) -> bool:
    if name.removesuffix(".weight").rpartition(".")[2] not in HEADS:
        return False
    embedding = _embedding(base.tensors)
    if embedding is None or embedding not in merged.tensors:
        return False
    return _same_bytes(base.tensors[name], base.tensors[embedding])


def _same_bytes(first: Stored, second: Stored) -> bool:
    if (first.dtype, first.shape) != (second.dtype, second.shape):
        return False
    readers = Reader(), Reader()
    step = 1 << 20
    buffers = np.empty(step, np.uint8), np.empty(step, np.uint8)
    try:
        for start in range(0, first.size, step):
            count = min(step, first.size - start)
            one, other = (
                reader.raw(stored, start, count, buffer)
                for reader, stored, buffer in zip(readers, (first, second), buffers, strict=True)
            )
            if not np.array_equal(one, other):
                return False
        return True
    finally:
        for reader in readers:
            reader.close()


def _add_unknown(plan: Plan, name: str, stored: Stored, merged: Checkpoint, base: Checkpoint) -> None:
    if name.removesuffix(".weight").rpartition(".")[2] in HEADS:
        embedding = _embedding(merged.tensors)
        if embedding and _same_bytes(stored, merged.tensors[embedding]):
            plan.notes.append(f"`{name}` of the merged checkpoint is its `{embedding}`")
            return
        source = _embedding(base.tensors)
        if source and base.tensors[source].shape == stored.shape:
            plan.notes.append(f"`{name}` is compared with `{source}`, to which it was tied in the base")
            plan.tasks.append(Task(name, base.tensors[source], stored))
            return
    plan.judged.append(
        Judgement(
            name, name, Verdict.NOT_JUDGED, "the base has no such tensor to compare it with", adapted=False
        )
    )


def _saved(
    plan: Plan, given: Sequence[Given], names: Names, deltas: Mapping[str, Sequence[Delta]]
) -> dict[str, tuple[int, str]]:
    """Whole weights in an adapter file (PEFT's `modules_to_save`, biases), by the tensor they replace."""
    found: dict[str, tuple[int, str]] = {}
    for index, item in enumerate(given):
        for key in item.adapter.source.rest:
            plain = key.replace(".modules_to_save.", ".").replace(".base_layer.", ".")
            target = names.find(plain.removesuffix(".weight"))
            tensor = None if target is None else names.stems[target[0]]
            if tensor is None or tensor.endswith(".weight") != plain.endswith(".weight"):
                plan.judged.append(_unjudged(key, "a tensor of the adapter that no rule explains"))
            elif tensor in deltas:
                # PEFT saves an embedding that it adapts; what counts is the base that is audited.
                plan.notes.append(f"`{key}`: the adapter holds a copy of the weight that it adapts")
            else:
                found[tensor] = (index, key)
    return found


def _add_adapted(
    plan: Plan, name: str, base: Stored, merged: Stored, deltas: Sequence[Delta], given: Sequence[Given]
) -> None:
    def refuse(detail: str) -> None:
        for delta in deltas:
            plan.judged.append(_unjudged(delta.module.name, detail, merged.name))

    unread = next((item for item in (base, merged) if item.dtype not in FLOATS), None)
    if unread is not None:
        refuse(f"`{unread.name}` is {unread.dtype}: merges into such weights are not replayed")
        return
    each: dict[tuple[int, int | None, tuple[int, int] | None, str], str] = {}
    for delta in deltas:
        key = (
            delta.adapter,
            delta.place.part,
            delta.place.rows,
            delta.module.name if delta.place.rule == _TIED else "",
        )
        if key in each:
            refuse(f"`{each[key]}` and `{delta.module.name}` both seem to be `{name}` (see --map)")
            return
        each[key] = delta.module.name
    plan.tasks.append(Task(name, base, merged, tuple(deltas)))


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
            refused.append(_unjudged(delta.module.name, str(reason), task.merged.name))
    if refused:
        # What another delta of the same weight adds would be taken for a mistake.
        refused += [
            _unjudged(delta.module.name, "another delta of the same weight can't be made", task.merged.name)
            for delta, *_ in made
        ]
        return [], refused, []
    try:
        ranges = _ranges(task, made)
    except NotMade as reason:
        return [], [_unjudged(delta.module.name, str(reason), task.merged.name) for delta, *_ in made], []
    units: list[Unit] = []
    reached = np.zeros(task.base.rows, np.bool_)
    for (first, last), members in sorted(ranges.items(), key=lambda item: item[0]):
        if reached[first:last].any():
            detail = "its rows and those of another module overlap"
            return [], [_unjudged(delta.module.name, detail, task.merged.name) for delta, *_ in made], []
        reached[first:last] = True
        shapes = {shape for _, _, _, shape in members}
        if len(members) > 1 and shapes != {Shape.SUM}:
            refused += [
                _unjudged(delta.module.name, "several deltas on a weight that DoRA norms", task.merged.name)
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
            f"its delta is {product.shape[0]} x {product.shape[1]}, `{base.name}` is {_shape(base)}"
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
