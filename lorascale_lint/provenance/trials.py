"""Trials: a function that handles adapter files is run on one, with keys as conventions write them.

What the functions of the project make of a key is then known letter by letter: which names come out, what is
found under them, what is skipped. Each trial has a ledger of its own.
"""

from __future__ import annotations

import ast
from collections.abc import Collection
from functools import lru_cache

from lorascale_lint.bounds import DORA_LIMIT, MORE_TIMES, PATTERN_LIMIT, STEP_LIMIT, TRIAL_LIMIT, TRIAL_STEPS
from lorascale_lint.immutable import replace
from lorascale_lint.knowledge.kinds import speaks_of_dora
from lorascale_lint.knowledge.roles import ALPHA, BASE, MAGNITUDE, A, B
from lorascale_lint.knowledge.samples import (
    USUAL,
    USUAL_MODULE,
    Sample,
    ends_in_group,
    module_of_pattern,
    sample_of,
    sample_of_pattern,
    samples_of,
    takes_more,
)
from lorascale_lint.knowledge.speech import speaks_of_lora
from lorascale_lint.ledger.entries import Pattern, Trial
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import ClassInfo, FileInfo, FunctionInfo
from lorascale_lint.provenance.entrances import Entrance, Mark, entrances, is_opened_file, told_in
from lorascale_lint.provenance.frames import Frame
from lorascale_lint.provenance.heap import Entries, Items, Names
from lorascale_lint.provenance.machine import Machine, OutOfSteps
from lorascale_lint.provenance.memory import Memory
from lorascale_lint.provenance.regexes import REGEX_FUNCTIONS
from lorascale_lint.provenance.running import finish
from lorascale_lint.provenance.unseen import bind_unknown, instance
from lorascale_lint.provenance.values import UNKNOWN, Place, Ref, Text, Value


def record(machine: Machine, file: FileInfo, before: Mark) -> None:
    """Tries the functions of ``file`` that handle adapter files, and its top level."""
    machine.ledger.patterns.extend(patterns_of(file))
    made: dict[object, int] = {}
    refused: set[tuple[ast.AST, Sample]] = set()
    multiplies = {p.spot.function for p in machine.ledger.products[before.products :] if p.spot.file is file}
    for entrance in sorted(entrances(machine.ledger, file, before), key=lambda found: found.is_below):
        own = _of_patterns(entrance, file)
        for sample in dict.fromkeys([*own, *_samples(entrance, file)]):
            count, opened = made.get(entrance.function, 0), (entrance.spot.node, sample)
            if entrance.is_below and opened in refused:
                continue  # what the function calls takes no such file
            if count < TRIAL_LIMIT + len(own):
                made[entrance.function] = count + 1
                machine.ledger.trials.append(_try(machine, file, entrance, sample, multiplies, refused))
            if count < DORA_LIMIT and sample.magnitude and speaks_of_dora(file.source):
                sample = replace(sample, of_dora=True)
                machine.ledger.trials.append(_try(machine, file, entrance, sample, multiplies, refused))


def _samples(entrance: Entrance, file: FileInfo) -> list[Sample]:
    """The files that the function may know: by the words of its code, by those around it, by its own keys."""
    text = told_in(entrance, file)
    named = samples_of(text)
    if not named and entrance.parameter and not speaks_of_lora(text):
        return []
    found = dict.fromkeys([*named, *samples_of(file.source)]) or dict.fromkeys(USUAL)
    mapped = _mapped_module(file)
    if mapped is not None and any(word in text for word in ("re.", "mapping", "mapped")):
        spelled = [sample for sample in found if sample.alpha in text] or list(found)
        found = dict.fromkeys([replace(spelled[-1], module=mapped), *found])
    own = sample_of([_filled(key) for key in entrance.keys])
    if own is None or (own.module and any(own.pair == one.pair for one in found)):
        return list(found)
    return [own, *found]


def _of_patterns(entrance: Entrance, file: FileInfo) -> list[Sample]:
    """Files with names that the regular expressions of the function take, as its code spells their keys."""
    text = told_in(entrance, file)
    named = samples_of(text)
    if not named and entrance.parameter and not speaks_of_lora(text):
        return []
    usual = named or samples_of(file.source) or list(USUAL)
    known = _expressions(file)
    read = {name for name, _ in known} if entrance.function is None else entrance.function.names_read
    applied = (pattern for name, pattern in known if (name in read if name else pattern in text))
    made = (sample_of_pattern(pattern, usual) for pattern in applied)
    return list(dict.fromkeys(filter(None, made)))[:PATTERN_LIMIT]


@lru_cache(16)  # functions of one file are tried in turn
def _expressions(file: FileInfo) -> tuple[tuple[str, str], ...]:
    """The regular expressions of a file, each with the name of the constant that it is, or none."""
    found: dict[tuple[str, str], None] = {}
    for node in ast.walk(file.tree) if "re." in file.source else ():
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call() as call):
                pass
            case ast.Call() as call:
                name = ""
            case _:
                continue
        match call:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="re"), attr=attr),
                args=[ast.Constant(value=str() as pattern), *_],
            ) if attr in REGEX_FUNCTIONS:
                found[name, pattern] = None
            case _:
                pass
    return tuple(found)


@lru_cache(16)
def patterns_of(file: FileInfo) -> tuple[Pattern, ...]:
    """The regular expressions in tables of the file that take names with one more part."""
    found = []
    for table in ast.walk(file.tree) if "\\." in file.source else ():
        if not isinstance(table, ast.Dict):
            continue
        for key, value in zip(table.keys, table.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, str) and takes_more(key.value):
                new = value.elts[0] if isinstance(value, ast.Tuple) and value.elts else value
                text = new.value if isinstance(new, ast.Constant) else None
                keeps = isinstance(text, str) and ends_in_group(text)
                found.append(Pattern(Spot(file, None, None, key), key.value, keeps))
    return tuple(found)


def _mapped_module(file: FileInfo) -> str | None:
    """A module that the first regular expression of a table in the file takes."""
    modules = (module_of_pattern(pattern.text) for pattern in patterns_of(file))
    return next((module for module in modules if module is not None), None)


def _filled(key: Text) -> str:
    """A key with usual names in the place of what is not known."""
    parts = (
        part if isinstance(part, str) else "0" if index else USUAL_MODULE
        for index, part in enumerate(key.parts)
    )
    return "".join(parts)


def _try(
    machine: Machine,
    file: FileInfo,
    entrance: Entrance,
    sample: Sample,
    multiplies: Collection[object],
    refused: set[tuple[ast.AST, Sample]],
) -> Trial:
    """One run, with a ledger of its own; ``refused`` gets it if the function only raises."""
    outer, machine.ledger = machine.ledger, Ledger()
    memory, paused = machine.memory, machine.memory.pause()
    machine.memory = Memory(machine.heap, machine.ledger)
    depth, stack = len(machine.heap.journals), list(machine.stack)
    machine.heap.begin()
    roles = zip(sample.keys, (A, B, ALPHA), strict=True)
    tensors = {key: Place(f"adapter[{key}]", role) for key, role in roles}
    if sample.base_key:
        tensors[sample.base_key] = Place(f"adapter[{sample.base_key}]", BASE)
    if sample.magnitude_key:
        tensors[sample.magnitude_key] = Place(f"adapter[{sample.magnitude_key}]", MAGNITUDE)
    given = machine.new_dict([(Text((key,)), value) for key, value in tensors.items()])
    machine.on_trial = (entrance.node, given)
    machine.more = MORE_TIMES if entrance.node is not None else 0
    whole, held = False, {}
    try:
        whole = _run(machine, file, entrance, given, multiplies)
        held = _contents(machine, given) if whole else {}
        refused.update(() if whole else {(entrance.spot.node, sample)})
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
    made = range(given.key, machine.heap.count + 1)
    for key in (*sorted(key for key in filled if key < given.key), *made):
        entries = machine.heap.read(key, "entries")
        items = machine.heap.read(key, "items")
        if isinstance(entries, Entries):
            found[key] = entries.pairs
        elif isinstance(items, Items):
            found[key] = tuple((UNKNOWN, value) for value in items.values)
    return found


def _run(
    machine: Machine, file: FileInfo, entrance: Entrance, given: Ref, multiplies: Collection[object]
) -> bool:
    """Run it; False if the function takes no such file, whatever the way."""
    info = entrance.function
    if info is None:
        frame = Frame(file, None, Names({}))
        frame.lora = True
        machine.enter(frame)
        machine.steps = STEP_LIMIT - TRIAL_STEPS
        kept = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)
        machine.block([node for node in file.tree.body if not isinstance(node, kept)])
        return True
    owner = entrance.cls or info.owner
    receiver = instance(machine, owner) if owner is not None and not info.is_static else None
    machine.steps = STEP_LIMIT - TRIAL_STEPS
    machine.defined, machine.called = [], set()
    if receiver is not None and entrance.node is None and not entrance.parameter:
        for slot, value in machine.heap.of(receiver.key):
            if isinstance(value, Place) and is_opened_file(value):
                machine.heap.write(receiver.key, slot, given)
    file_or_files = machine.new_list([given]) if entrance.rows else given
    if not _call(machine, info, owner, receiver, {entrance.parameter: file_or_files}):
        return False
    for method in owner.methods.values() if owner is not None and _keeps(machine.ledger, given) else ():
        if method in multiplies and method not in {info, *machine.called} and not method.is_static:
            _call(machine, method, owner, receiver, {})  # what the function has kept is used there
    return True


def _keeps(ledger: Ledger, given: Ref) -> bool:
    """Was anything stored in what was there before the file?"""
    older = (w for w in ledger.writes if not isinstance(w.container, Ref) or w.container.key < given.key)
    return bool(ledger.stores) or next(older, None) is not None


def _call(
    machine: Machine,
    info: FunctionInfo,
    owner: ClassInfo | None,
    receiver: Ref | None,
    given: dict[str, Value],
) -> bool:
    """Call it; does it ever come to an end, and not only raise?"""
    frame = Frame(info.file, info, Names({}, info.owner.names if info.owner else None), receiver, owner)
    frame.lora = machine.speaks(info, info.file, owner)
    machine.enter(frame)
    machine.heap.begin()
    bind_unknown(machine, frame, info)
    frame.names.local.update((name, value) for name, value in given.items() if name)
    finish(machine, frame, info)
    machine.leave(frame)
    return bool(frame.returns or frame.yields)
