"""Which functions are looked at: every one that speaks of LoRA, and what they call with their arguments."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import count, groupby
from pathlib import PurePath

from lorascale_lint.bounds import HEIR_LIMIT, MORE_TIMES
from lorascale_lint.knowledge.roles import NUMBERS, role_of
from lorascale_lint.knowledge.speech import divides_alpha, moves_tensors, speaks_of_lora, speaks_of_scales
from lorascale_lint.ledger.entries import Unused
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import ClassInfo, FileInfo, FunctionInfo
from lorascale_lint.linking.program import Program
from lorascale_lint.provenance import defaults, entrances, trials
from lorascale_lint.provenance.decorators import is_itself
from lorascale_lint.provenance.fields import fields_read, reads
from lorascale_lint.provenance.frames import Frame
from lorascale_lint.provenance.heap import Names
from lorascale_lint.provenance.interpreter import machine_for
from lorascale_lint.provenance.lookups import learned
from lorascale_lint.provenance.machine import Machine, OutOfSteps
from lorascale_lint.provenance.unseen import instance, run_unknown
from lorascale_lint.provenance.values import Place, Text

TOP = "<module>"
SHARE = 2**32
"""Objects and frames: one share can't make as many."""


def examine(
    sources: Mapping[str, str],
    modules: Mapping[str, str],
    targets: Collection[str],
    progress: Callable[[int, int], None] | None = None,
    watched: tuple[str, int] | None = None,
) -> Machine:
    """Run every function of ``targets`` that matters; ``sources`` are all files of the project, decoded."""
    return examine_program(Program(sources, modules), targets, progress, watched)


def examine_program(
    program: Program,
    targets: Collection[str],
    progress: Callable[[int, int], None] | None = None,
    watched: tuple[str, int] | None = None,
) -> Machine:
    """Run every function of ``targets`` that matters.

    ``progress`` is called with the number of files that are done, and how many there are. ``watched`` is a
    file and row of which every value is kept.
    """
    whole = machine_for(program)
    done = count()

    def begin() -> None:
        if progress is not None:
            progress(next(done), len(targets))

    for number, share in enumerate(shares(targets)):
        whole.add(examine_share(program, share, number, watched, begin))
    begin()
    return whole


def shares(targets: Collection[str]) -> list[tuple[str, ...]]:
    """The files of each folder: what is looked at together.

    What is seen in files that are looked at together may depend on all of them, for a call is run once. So
    this depends on the names of the files alone, and not on who looks at them.
    """
    return [
        tuple(files) for _, files in groupby(sorted(targets, key=_in_folder), key=lambda n: _in_folder(n)[0])
    ]


def _in_folder(filename: str) -> tuple[str, str]:
    return str(PurePath(filename).parent), filename


def examine_share(
    program: Program,
    share: Iterable[str],
    number: int,
    watched: tuple[str, int] | None = None,
    begin: Callable[[], None] = lambda: None,
) -> Machine:
    """A machine that has looked at a share and at nothing else: it may be made anywhere, in any order.

    What machines of different ``number`` make has different keys, so that it can be put together. ``begin``
    is called before each file.
    """
    machine = machine_for(program)
    machine.watched = watched
    machine.frames = machine.heap.count = number * SHARE
    for filename in share:
        begin()
        text = program.sources.get(filename, "")
        if not speaks_of_lora(text) and "alpha" not in text:
            continue
        file = program.file(filename)
        if file is not None and not speaks_of_lora(text):
            if not _uses_lora(program, file):
                continue
            machine.count_as_lora(file)
        if file is not None:
            examine_file(machine, file)
    for info in _read_too_early(machine):
        machine.ledger.forget(info)
        for owner in [info.owner, *_heirs(machine, info.file, info)]:
            _run(machine, info, owner)
    return machine


def _read_too_early(machine: Machine) -> list[FunctionInfo]:
    """Functions that read entries of files before it was seen what the project puts under such keys."""
    found: dict[FunctionInfo, None] = {}
    for read in machine.ledger.reads:
        value, info = read.value, read.spot.function
        if info is None or read.spot.chain or not isinstance(value, Place) or value.role is not None:
            continue
        tail = read.key.parts[-1] if isinstance(read.key, Text) and read.key.parts else None
        if learned(machine, value.path, tail) is not None:
            found[info] = None
    return list(found)


def examine_file(machine: Machine, file: FileInfo) -> None:
    """Run the functions, methods and top level of one file."""
    before = entrances.mark(machine.ledger)
    machine.ledger.fields_read.update(fields_read(machine.program, file))
    machine.looked_at.add(file.filename)
    for info in file.all_functions:
        if not matters(file, info):
            continue
        owners: list[ClassInfo | None] = [info.owner, *_heirs(machine, file, info)]
        for owner in owners:
            _run(machine, info, owner)
        _unused_parameters(machine, info)
        machine.steps = 0
        try:
            unchanged = is_itself(machine, info)
        except (OutOfSteps, RecursionError):
            unchanged = False
        if not unchanged:
            machine.ledger.changed.add(info)
    _run_top_level(machine, file)
    if defaults.may_hold(file.source):
        defaults.record(machine, file)
    trials.record(machine, file, before)


def _unused_parameters(machine: Machine, info: FunctionInfo) -> None:
    """Parameters with a role that the body never reads; a body that does nothing promises nothing."""
    node = info.node
    if isinstance(node, ast.Lambda) or info.has("abstractmethod", "overload"):
        return
    body = [
        item
        for item in node.body
        if not (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))
    ]
    if not body or isinstance(body[0], ast.Pass | ast.Raise):
        return
    read = info.names_read
    try:
        used = {name for part in node.body for name in reads(part)}
    except RecursionError:
        return
    lora = machine.speaks(info, info.file, info.owner)
    for parameter in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
        role = role_of(parameter.arg, lora)
        if role in NUMBERS and parameter.arg not in used:
            spot = Spot(info.file, info, info.owner, parameter, (), (node.lineno, node.lineno))
            entry = Unused(spot, parameter.arg, role)
            machine.ledger.only_tested.append(entry)
            if parameter.arg not in read:
                machine.ledger.unused.append(entry)


def _heirs(machine: Machine, file: FileInfo, info: FunctionInfo) -> list[ClassInfo]:
    """Classes of the file that inherit the method and make their fields themselves."""
    if info.owner is None or info.is_static or info.name == "__init__":
        return []
    found = [
        cls
        for cls in file.classes.values()
        if cls is not info.owner
        and "__init__" in cls.methods
        and info.name not in cls.methods
        and info.owner in machine.program.mro(cls)
    ]
    return found[:HEIR_LIMIT]


def matters(file: FileInfo, info: FunctionInfo) -> bool:
    """Can there be something of LoRA in the function?"""
    text = file.text(info.node)
    if speaks_of_scales(text) or speaks_of_lora(text):
        return True
    if divides_alpha(file.source) and (
        info.owner is not None or not file.classes.keys().isdisjoint(info.names_read)
    ):
        return True  # `self.host(x) + self.gain * self.left(self.right(x))` has no word of LoRA
    if _leads_to_lora(file, info):
        return True
    around = file.source if info.owner is None else file.text(info.owner.node)
    if info.name != "__init__" and moves_tensors(text) and speaks_of_lora(around):
        return True
    return info.owner is not None and speaks_of_lora(info.owner.qualname)


def _uses_lora(program: Program, file: FileInfo) -> bool:
    """Does a file without a word of LoRA import a function or class of the project that has one?

    ``from branches import inject``: the layers stand there, and the options for alpha and rank here.
    """
    others = filter(None, map(program.file, program.imported(file)))
    for other in others:
        for name in program.taken(file, other) or ():
            found = other.functions.get(name) or other.classes.get(name)
            if found is None:
                continue
            reaches = isinstance(found, FunctionInfo) and _leads_to_lora(other, found)
            if reaches or speaks_of_lora(other.text(found.node)):
                return True
    return False


def _leads_to_lora(file: FileInfo, info: FunctionInfo) -> bool:
    """Does it use a function or class of the file with a word of LoRA, or a function that uses one?"""
    defined: dict[str, ClassInfo | FunctionInfo] = {**file.classes, **file.functions}
    near = [defined[name] for name in defined.keys() & info.names_read]
    used = {item for item in near if item is not info}
    for item in near:
        if isinstance(item, FunctionInfo):
            used.update(defined[name] for name in defined.keys() & item.names_read)
    return any(speaks_of_lora(file.text(item.node)) for item in used if item is not info)


def _run(machine: Machine, info: FunctionInfo, owner: ClassInfo | None) -> None:
    depth = len(machine.heap.journals)
    try:
        machine.steps = 0
        receiver = instance(machine, owner) if owner is not None and not info.is_static else None
        machine.steps, machine.more = 0, MORE_TIMES
        machine.heap.begin()
        for cell, before in machine.set_on_given.get(info, {}).items():
            machine.heap.write(*cell, before)
        machine.defined, machine.called, machine.far = [], set(), set()
        run_unknown(machine, info, receiver, owner)
        _run_defined(machine)
    except (OutOfSteps, RecursionError):
        machine.ledger.bounds.append(f"{info.file.filename}: {info.qualname}")
    except Exception as error:  # costs the function, and is said
        machine.ledger.crashes.append(
            (info.file.filename, f"{info.qualname}: {type(error).__name__}: {error}")
        )
        machine.stack.clear()
    while len(machine.heap.journals) > depth:
        machine.heap.undo()


def _run_defined(machine: Machine) -> None:
    """Functions that were defined on the way and not called: hooks, patches, classes made by a function."""
    for _ in range(3):
        found, machine.defined = machine.defined, []
        seen: set[object] = set()
        for closure, frame, guards in found:
            info = closure.info
            plain = info.owner is None or info.owner.names is None
            if (plain and info in machine.called) or info.node in seen:
                continue
            seen.add(info.node)
            receiver = frame.receiver
            if info.owner is not None and info.owner.names is not None:
                receiver = instance(machine, info.owner) if not info.is_static else None
            run_unknown(machine, info, receiver, closure.owner, closure.env, guards)


def _run_top_level(machine: Machine, file: FileInfo) -> None:
    """What a script does when it is run, and what a module does when it is imported."""
    machine.steps, machine.more = 0, MORE_TIMES
    frame = Frame(file, None, Names({}))
    frame.lora = True
    machine.enter(frame)
    machine.heap.begin()
    try:
        kept = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)
        machine.block([node for node in file.tree.body if not isinstance(node, kept)])
    except (OutOfSteps, RecursionError):
        machine.ledger.bounds.append(f"{file.filename}: {TOP}")
    except Exception as error:
        machine.ledger.crashes.append((file.filename, f"{TOP}: {type(error).__name__}: {error}"))
    while len(machine.heap.journals) > frame.journal:
        machine.heap.undo()
    machine.stack.clear()
