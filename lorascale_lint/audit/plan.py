"""What is compared with what: each module's weight in both checkpoints, and whatever no adapter touches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lorascale_lint.adapters.adapter import Adapter, understand
from lorascale_lint.adapters.factors import Spelling
from lorascale_lint.adapters.floats import FLOATS
from lorascale_lint.adapters.module import Module
from lorascale_lint.adapters.source import read_source
from lorascale_lint.adapters.tensors import Reader, Stored, stored_tensors
from lorascale_lint.audit.checkpoint import Checkpoint
from lorascale_lint.audit.mapping import EMBEDDINGS, HEADS, Names, OwnRules, Place, place
from lorascale_lint.audit.verdicts import Judgement, Verdict
from lorascale_lint.errors import InputError

_BIASES = ("lora_B.bias", "diff_b")


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
            detail = f"{shape_text(stored)} in the base, {shape_text(other)} in the merged checkpoint"
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


def shape_text(stored: Stored) -> str:
    """A shape in words."""
    return " x ".join(map(str, stored.shape)) or "one number"


def unjudged(name: str, detail: str, tensor: str = "") -> Judgement:
    """A module or a tensor of which nothing can be said, and why."""
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
        plan.judged.append(unjudged(name, "its tensors make no delta"))
    places: list[tuple[Module, Place]] = []
    for module in item.adapter.modules:
        found = own.place(module.name, names) or place(module.name, names)
        if found is None:
            found = _tied_head(plan, module.name, names, merged, tied)
        if found is not None:
            places.append((module, found))
            continue
        plan.unplaced += 1
        plan.judged.append(unjudged(module.name, "no rule finds a tensor of the base for it (see --map)"))
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
                plan.judged.append(unjudged(module.name, f"the base has no `{bias}`"))


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
                plan.judged.append(unjudged(key, "a tensor of the adapter that no rule explains"))
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
            plan.judged.append(unjudged(delta.module.name, detail, merged.name))

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
