"""Functions and objects that are looked at by themselves: only names tell what they are given."""

from __future__ import annotations

import ast
from collections.abc import Collection
from functools import lru_cache, partial

from lorascale_lint.bounds import FIELD_LIMIT, FILLER_LIMIT, KEPT_STATEMENTS, STEP_LIMIT
from lorascale_lint.immutable import replace
from lorascale_lint.knowledge.interfaces import CALLED_AS
from lorascale_lint.knowledge.operations import INITIALISERS
from lorascale_lint.knowledge.roles import (
    FACTORS,
    MULTIPLIER,
    NUMBERS,
    holds_tensors,
    may_be_trained,
)
from lorascale_lint.linking.definitions import ClassInfo, FileInfo, FunctionInfo
from lorascale_lint.provenance.frames import Frame
from lorascale_lint.provenance.guards import Guards
from lorascale_lint.provenance.heap import Cell, Names
from lorascale_lint.provenance.machine import Machine, OutOfSteps
from lorascale_lint.provenance.marks import AFTER, none_question
from lorascale_lint.provenance.meanings import by_name
from lorascale_lint.provenance.modules import construct_base
from lorascale_lint.provenance.objects import class_attribute, in_class, new_object
from lorascale_lint.provenance.receivers import may_change_receiver
from lorascale_lint.provenance.records import open_for_subclasses, open_records
from lorascale_lint.provenance.running import declared_fields, finish
from lorascale_lint.provenance.scale import is_share, with_share
from lorascale_lint.provenance.states import (
    is_buffer,
    is_flag,
    is_start,
    is_state,
    of_itself,
    only_strength,
    open_containers,
    open_flags,
    open_strengths,
)
from lorascale_lint.provenance.values import NONE, Const, Klass, Number, Place, Ref, Value, join


def bind_unknown(m: Machine, frame: Frame, info: FunctionInfo, needed: Collection[str] | None = None) -> None:
    """Every parameter is a place named after it: the function as its file alone shows it.

    Of those that are not ``needed``, nothing is found out.
    """
    node, plain, defaults = info.node.args, info.positional, info.defaults
    receiver = bool(plain) and info.owner is not None and not info.is_static
    for index, parameter in enumerate((*plain, *node.kwonlyargs)):
        name = parameter.arg
        if receiver and index == 0:
            frame.names.local[name] = frame.receiver if frame.receiver is not None else m.place(name)
            continue
        if index == 0 and _is_given_a_context(m, info):
            frame.names.local[name] = new_object(
                m, None, name
            )  # of the call, and no layer that keeps numbers
            continue
        if needed is not None and name not in needed:
            frame.names.local[name] = m.place(name)
            continue
        frame.names.local[name] = unknown_argument(m, parameter, defaults.get(name))
    if node.vararg is not None:
        frame.names.local[node.vararg.arg] = Place(node.vararg.arg)
    if node.kwarg is not None:
        frame.names.local[node.kwarg.arg] = m.new_dict([], True)


def _is_given_a_context(m: Machine, info: FunctionInfo) -> bool:
    """Does a library call the static method with an object of its own, before what code gives?"""
    bases = m.program.library_bases(info.owner) if info.owner is not None and info.is_static else ()
    return any(called.base in bases for called in CALLED_AS.values())


def unknown_argument(m: Machine, parameter: ast.arg, default: ast.expr | None) -> Value:
    """What a parameter is where no caller is in sight."""
    place = m.place(parameter.arg)
    note = "" if parameter.annotation is None else _written(parameter.annotation)
    if parameter.annotation is not None and m.stack:
        found = m.program.resolve(m.frame.file, _one_class(parameter.annotation))
        if isinstance(found, ClassInfo) and place.role is None:
            return instance(m, found)
    if note == "str":
        from lorascale_lint.provenance.machine import hole

        return hole(parameter.arg)
    if place.role in NUMBERS and holds_tensors(note):
        return Place(place.path)  # `adapter_weights: dict[str, torch.Tensor]` are no strengths
    if place.role in FACTORS and place.weak and m.any_letter(parameter.arg):
        return Place(place.path)
    if place.role in FACTORS and place.weak and note in ("float", "int", "str", "bool"):
        return Place(place.path)
    number = m.frame.function is not None and m.frame.function.takes_number(parameter.arg)
    if number and place.role == "base":
        return Place(place.path, "strength", True)
    if number and place.role is None and note == "float" and not may_be_trained(parameter.arg):
        return Place(place.path, MULTIPLIER, True)
    if isinstance(default, ast.Constant) and default.value is None and place.role is not None:
        guard = none_question(f"{parameter.arg}@{m.frame.number}")
        return join([(place, ((guard, False),)), (NONE, ((guard, True),))])
    if place.role == "alpha" and place.weak and isinstance(default, ast.Constant) and is_share(default.value):
        return Place(with_share(parameter.arg), "alpha", True)  # a strength, unless a rank divides it
    if isinstance(default, ast.Constant) and isinstance(default.value, bool):
        return Place(parameter.arg)
    if isinstance(default, ast.Constant) and isinstance(default.value, str):
        return Place(parameter.arg)
    return place


def fill(m: Machine, file: FileInfo, name: str) -> None:
    """Run the functions of a file that put something into a list or dictionary of its top level."""
    journals, m.heap.journals = m.heap.journals, []
    recording, m.recording = m.recording, False
    stack, m.stack, steps, limit = m.stack, [], m.steps, m.limit
    m.limit = STEP_LIMIT
    try:
        for info in [item for item in file.functions.values() if _fills(item, name)][:FILLER_LIMIT]:
            m.steps = 0
            run_unknown(m, info, None, None)
    except (OutOfSteps, RecursionError):
        pass
    finally:
        m.heap.journals, m.recording, m.stack, m.steps, m.limit = journals, recording, stack, steps, limit


def _fills(info: FunctionInfo, name: str) -> bool:
    for node in info.nodes:
        match node:
            case ast.Subscript(value=ast.Name(id=found), ctx=ast.Store()) if found == name:
                return True
            case ast.Call(
                func=ast.Attribute(
                    value=ast.Name(id=found), attr="append" | "update" | "setdefault" | "extend" | "add"
                )
            ) if found == name:
                return True
            case _:
                pass
    return False


def instance(m: Machine, cls: ClassInfo) -> Ref:
    """An object of ``cls`` as any code may have made it: constructed, and every method called or not."""
    known = m.instances.get(cls)
    if known is not None:
        return known
    stack, m.stack = m.stack, []
    steps, limit, m.steps, m.limit = m.steps, m.limit, 0, STEP_LIMIT
    try:
        with m.aside():
            made = m.instances[cls] = new_object(m, cls, "self")
            _settle(m, cls, made)
    finally:
        m.stack, m.steps, m.limit = stack, steps, limit
    return made


def _own_attributes(m: Machine, cls: ClassInfo, made: Ref) -> None:
    """Containers and flags of the class body are what its methods fill and set, like fields of the object."""
    for item in m.program.mro(cls):
        for name, node in item.attributes.items():
            if isinstance(node, ast.Dict | ast.List | ast.Constant | ast.Call) and (
                m.heap.read(made.key, name) is None
            ):
                value = class_attribute(m, item, name, made)
                flag = isinstance(value, Const) and isinstance(value.value, bool)
                if flag or (isinstance(value, Ref) and value.kind in ("list", "dict")):
                    m.heap.write(made.key, name, in_class(m, cls, partial(by_name, m, name, value, made)))


def _settle(m: Machine, cls: ClassInfo, made: Ref) -> None:
    found = m.program.method(cls, "__init__")
    try:
        if found is not None and "dataclass" not in " ".join(cls.decorators):
            run_unknown(m, found[0], made, found[1], only_effects=True)
        else:
            for name in declared_fields(m, cls):
                value = in_class(m, cls, partial(_field_place, m, cls, name))
                m.heap.write(made.key, name, value)
            m.heap.write(made.key, "<fields>", tuple(declared_fields(m, cls)))
            construct_base(m, made, m.program.library_bases(cls), [], [])
    except (OutOfSteps, RecursionError):
        pass
    _own_attributes(m, cls, made)
    open_flags(m, cls, made)
    open_containers(m, made)
    open_records(m, cls, made)
    seen = {"__init__"}
    for item in m.program.mro(cls):
        for name, info in list(item.methods.items()):
            if name in seen or len(seen) > FIELD_LIMIT:
                continue
            seen.add(name)
            if not may_change_receiver(info):
                continue
            m.steps = 0
            m.heap.begin()
            ok = True
            try:
                run_unknown(m, info, made, item, only_effects=True)
            except (OutOfSteps, RecursionError):
                ok = False
            while len(m.heap.journals) > 1:
                m.heap.keep()
            changed = m.heap.undo()
            if ok:
                given = m.set_on_given.setdefault(info, {})
                for cell in changed:
                    if _of_argument(cell, info):
                        given.setdefault(cell, m.heap.cells.get(cell))
                guard = ((f"{AFTER}{name}()", True),)
                kept = {
                    cell: value
                    for cell, value in changed.items()
                    if is_state(value) and not only_strength(m, cell, value) and not of_itself(cell, value)
                }
                first = {cell: value for cell, value in kept.items() if m.heap.cells.get(cell) is None}
                first |= {  # 1 until somebody sets it
                    cell: value
                    for cell, value in kept.items()
                    if (
                        isinstance(value, Place)
                        and value.role in NUMBERS
                        and is_start(m.heap.cells.get(cell))
                    )
                    or (isinstance(value, Number) and is_buffer(m.heap.cells.get(cell)))  # a place for each
                }
                # Set here and nowhere earlier: whoever reads it comes later, unless it asks for a flag.
                for cell, value in first.items():
                    m.heap.write(*cell, Place(f"self.{cell[1]}") if is_flag(value) else value)
                    del kept[cell]
                m.heap.apply([(kept, guard), ({}, ((f"{AFTER}{name}()", False),))])
    open_strengths(m, cls, made)
    open_for_subclasses(m, cls, made)


def _of_argument(cell: Cell, info: FunctionInfo) -> bool:
    """Is it a field of what the method is given, by the parameter's name?"""
    match cell:
        case (("place", str() as path), str() as field):
            return field != "entries" and path in info.parameters
        case _:
            return False


def _field_place(m: Machine, cls: ClassInfo, name: str) -> Value:
    for item in m.program.mro(cls):
        if name in item.attributes:
            node = item.attributes[name]
            place = _held_by(cls, _declared(m, item, name))
            if isinstance(node, ast.Constant) and node.value is None:
                guard = none_question(f"self.{name}")
                return join([(place, ((guard, False),)), (NONE, ((guard, True),))])
            return place
    return _held_by(cls, m.place(name))


def _held_by(cls: ClassInfo, value: Value) -> Value:
    """A factor by the class that holds it: functions that are given a record are siblings by that."""
    if isinstance(value, Place) and value.role in FACTORS and "." not in value.path:
        return replace(value, path=f"{cls.name}.{value.path}")
    return value


def _declared(m: Machine, cls: ClassInfo, name: str) -> Value:
    """A field by its annotation: an object of a class of the project, or nobody knows what."""
    for statement in cls.node.body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=field), annotation=annotation) if field == name:
                target = m.program.resolve(cls.file, _one_class(annotation))
                if isinstance(target, ClassInfo) and target is not cls:
                    return instance(m, target)
    return m.place(name)


@lru_cache(maxsize=KEPT_STATEMENTS)
def _written(annotation: ast.expr) -> str:
    return ast.unparse(annotation)


def _one_class(annotation: ast.expr) -> str:
    """``Class`` of ``Class``, ``"Class"``, ``Class | None`` and ``Optional[Class]``."""
    note = _written(annotation).strip("\"'")
    return note.removesuffix(" | None").removeprefix("Optional[").removesuffix("]")


def run_unknown(
    m: Machine,
    info: FunctionInfo,
    receiver: Value | None,
    owner: ClassInfo | None,
    outer: Names | None = None,
    guards: Guards = (),
    *,
    only_effects: bool = False,
) -> Value:
    """Run a function as its file alone shows it: nothing is known of its arguments.

    ``guards`` are the conditions under which it was defined inside another. With ``only_effects``, only what
    it changes is asked for.
    """
    frame = Frame(
        info.file,
        info,
        Names({}, outer or (info.owner.names if info.owner else None)),
        receiver,
        owner or info.owner,
    )
    if info.has("classmethod") and isinstance(receiver, Ref) and receiver.cls is not None:
        frame.receiver = Klass(receiver.cls)
    needed = None
    if only_effects and isinstance(receiver, Ref) and (found := m.effects.of(info, receiver.cls)) is not None:
        frame.body, needed = found
    frame.lora = m.speaks(info, info.file, owner or info.owner)
    frame.guards = guards
    m.enter(frame)
    m.heap.begin()

    initialiser = info.name in INITIALISERS
    m.initialising += initialiser
    try:
        bind_unknown(m, frame, info, needed)
        return finish(m, frame, info)
    finally:
        m.initialising -= initialiser
        m.leave(frame)
