"""Trials: a function that handles adapter files is run on one, with keys as conventions write them.

What the functions of the project make of a key is then known letter by letter: which names come out, what is
found under them, what is skipped. Each trial has a ledger of its own.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.knowledge.roles import key_role
from lorascale_lint.knowledge.samples import Sample, samples_of
from lorascale_lint.ledger.entries import KeyRead, KeyWrite, Ledger, Spot, Trial, Use
from lorascale_lint.linking.program import ClassInfo, FileInfo, FunctionInfo
from lorascale_lint.provenance.heap import Entries, Items, Names
from lorascale_lint.provenance.machine import STEP_LIMIT, Frame, Machine, OutOfSteps
from lorascale_lint.provenance.memory import Memory
from lorascale_lint.provenance.running import finish
from lorascale_lint.provenance.unseen import bind_unknown, instance
from lorascale_lint.provenance.values import UNKNOWN, Place, Ref, Text, Value, options

TRIAL_LIMIT = 4
"""Trials of one function: places where a file comes in, times the conventions that its code names."""
TRIAL_STEPS = 2_500
"""Expressions evaluated in one trial: three keys go through a converter of usual size in a few hundred."""


@dataclass(frozen=True, slots=True)
class Entrance:
    """Where an adapter file comes in: a parameter of the function, or the call that opens it."""

    function: FunctionInfo | None
    cls: ClassInfo | None
    parameter: str
    node: ast.AST | None
    spot: Spot


def record(machine: Machine, file: FileInfo) -> None:
    """Tries the functions of ``file`` that handle adapter files, and its top level."""
    made: dict[object, int] = {}
    for entrance in list(entrances(machine.ledger, file)):
        text = file.source if entrance.function is None else file.text(entrance.function.node)
        named = samples_of(text)
        if not named and (not entrance.parameter or "alpha" in text or "lora" in text):
            named = samples_of(file.source)
        for sample in named:
            count = made.get(entrance.function, 0)
            if count < TRIAL_LIMIT:
                made[entrance.function] = count + 1
                machine.ledger.trials.append(_try(machine, file, entrance, sample))


def entrances(ledger: Ledger, file: FileInfo) -> Iterator[Entrance]:
    """The places of ``file`` where tensors by name come in, from what its functions did with them."""
    seen: set[object] = set()
    for use in ledger.uses:
        function = _outermost(use, file) if any(_is_file(o.value) for o in options(use.result)) else _NOWHERE
        if function is not _NOWHERE and (function, use.spot.node) not in seen:
            seen.add((function, use.spot.node))
            info = function if isinstance(function, FunctionInfo) else None
            yield Entrance(info, None if info is None else info.owner, "", use.spot.node, use.spot)
    entries: list[KeyRead | KeyWrite] = [*ledger.reads, *ledger.writes]
    for entry in entries:
        info = entry.spot.function
        if entry.spot.chain or entry.spot.file is not file or info is None:
            continue
        paths = [getattr(entry.container, "path", "")]
        paths += [getattr(option.value, "path", "") for option in options(entry.value)]
        for name in info.parameters:
            known = (info, name) in seen or not isinstance(entry.key, Text) or name in ("self", "cls")
            if not known and any(path == name or path.startswith(f"{name}[") for path in paths):
                seen.add((info, name))
                yield Entrance(info, entry.spot.cls, name, None, entry.spot)


_NOWHERE = object()


def _outermost(use: Use, file: FileInfo) -> object:
    """The function of ``file`` that was looked at when this happened; None for the top level."""
    if not use.spot.chain:
        return use.spot.function if use.spot.file is file else _NOWHERE
    filename, _, row = use.spot.chain[0].rpartition(":")
    if filename != file.filename:
        return _NOWHERE
    around = [f for f in file.all_functions if f.node.lineno <= int(row) <= (f.node.end_lineno or 0)]
    return around[-1] if around else None


def _is_file(value: Value) -> bool:
    return isinstance(value, Place) and value.made == "state dict" and value.path.startswith("file(")


def _try(machine: Machine, file: FileInfo, entrance: Entrance, sample: Sample) -> Trial:
    """One run, with a ledger of its own."""
    outer, machine.ledger = machine.ledger, Ledger()
    memory, paused = machine.memory, machine.memory.pause()
    machine.memory = Memory(machine.heap, machine.ledger)
    depth, stack = len(machine.heap.journals), list(machine.stack)
    machine.heap.begin()
    tensors = {key: Place(f"adapter[{key}]", key_role(key)) for key in sample.keys}
    given = machine.new_dict([(Text((key,)), value) for key, value in tensors.items()])
    machine.on_trial = (entrance.node, given)
    whole, held = False, {}
    try:
        _run(machine, file, entrance, given)
        whole, held = True, _contents(machine, given)
    except (OutOfSteps, RecursionError):
        pass
    except Exception as error:  # costs the trial, and is said
        outer.crashes.append((file.filename, f"{entrance.spot.name}: {type(error).__name__}: {error}"))
    finally:
        tried, machine.ledger, machine.memory, machine.on_trial = machine.ledger, outer, memory, None
        machine.memory.resume(paused)
        machine.stack[:] = stack
        while len(machine.heap.journals) > depth:
            machine.heap.undo()
    return Trial(
        entrance.spot, entrance.function, entrance.parameter, sample, tensors, given, tried, held, whole
    )


def _contents(machine: Machine, given: Ref) -> dict[int, tuple[tuple[Value, Value], ...]]:
    """What dictionaries and lists that the trial made or filled hold at the end, by their key on the heap."""
    filled = {w.container.key for w in machine.ledger.writes if isinstance(w.container, Ref)}
    found: dict[int, tuple[tuple[Value, Value], ...]] = {}
    for (key, slot), content in machine.heap.cells.items():
        if not isinstance(key, int) or (key < given.key and key not in filled):
            continue
        if slot == "entries" and isinstance(content, Entries):
            found[key] = content.pairs
        elif slot == "items" and isinstance(content, Items):
            found[key] = tuple((UNKNOWN, value) for value in content.values)
    return found


def _run(machine: Machine, file: FileInfo, entrance: Entrance, given: Ref) -> None:
    info = entrance.function
    if info is None:
        frame = Frame(file, None, Names({}))
        frame.lora = True
        machine.enter(frame)
        machine.steps = STEP_LIMIT - TRIAL_STEPS
        kept = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)
        machine.block([node for node in file.tree.body if not isinstance(node, kept)])
        return
    owner = entrance.cls or info.owner
    receiver = instance(machine, owner) if owner is not None and not info.is_static else None
    machine.steps = STEP_LIMIT - TRIAL_STEPS
    machine.defined, machine.called = [], set()
    frame = Frame(info.file, info, Names({}, info.owner.names if info.owner else None), receiver, owner)
    frame.lora = machine.speaks(info, info.file, owner)
    machine.enter(frame)
    machine.heap.begin()
    bind_unknown(machine, frame, info)
    if entrance.parameter:
        frame.names.local[entrance.parameter] = given
    finish(machine, frame, info)
