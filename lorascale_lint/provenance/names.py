"""Names of modules and attributes of values."""

from __future__ import annotations

import ast
from typing import Any

from lorascale_lint.bounds import DEPTH_LIMIT
from lorascale_lint.knowledge.members import OF_WRAPPED_LAYERS, TENSOR_ATTRIBUTES
from lorascale_lint.knowledge.roles import ALPHA
from lorascale_lint.linking.definitions import ClassInfo, FileInfo, FunctionInfo
from lorascale_lint.provenance.decorators import function
from lorascale_lint.provenance.frames import Frame
from lorascale_lint.provenance.heap import ABSENT, Names
from lorascale_lint.provenance.lookups import path_of
from lorascale_lint.provenance.machine import Machine
from lorascale_lint.provenance.objects import class_attribute, load_attribute
from lorascale_lint.provenance.shapes import NDIM_OF_ALPHA, tensor_attribute
from lorascale_lint.provenance.tensors import tensor
from lorascale_lint.provenance.unseen import fill
from lorascale_lint.provenance.values import (
    UNKNOWN,
    Const,
    Element,
    Klass,
    Library,
    Method,
    Number,
    Partial,
    Place,
    Ref,
    Tensor,
    Text,
    Tup,
    Union,
    Value,
    join,
)


def run_bindings(m: Machine, file: FileInfo, name: str) -> Value:
    """Run what the top level of a module does to a name.

    What ``except`` puts in the place of an import is one of two: ``bnb = None`` where it is not installed.
    """
    if len(m.stack) >= DEPTH_LIMIT:
        m.memory.lose()
        return Place(name)
    frame = Frame(file, None, Names({}))
    frame.lora = m.speaks(None, file, None) or True
    with m.aside():
        m.enter(frame)
        try:
            for statement in file.bindings[name]:
                if isinstance(statement, ast.For):
                    continue
                before = frame.names.local.get(name)
                if before is None and statement in file.perhaps and name in file.imports:
                    before = meaning(m, m.program.lookup(file, name), file.imports[name])
                m.block([statement])
                after = frame.names.local.get(name)
                if statement in file.perhaps and before is not None and after is not None:
                    frame.names.local[name] = join([(before, ()), (after, ())])
            return frame.names.local.get(name, Place(name))
        finally:
            m.leave(frame)


def meaning(m: Machine, found: Any, name: str = "") -> Value:
    """What the linker found, as a value."""
    match found:
        case FunctionInfo():
            return function(m, found)
        case ClassInfo():
            return Klass(found)
        case FileInfo():
            return Library(f"file::{found.filename}")
        case str() if "::" in found:
            filename, _, binding = found.partition("::")
            file = m.program.file(filename)
            return UNKNOWN if file is None else global_value(m, file, binding)
        case str():
            return Library(found)
        case _:
            return Library(name) if name else UNKNOWN


def global_value(m: Machine, file: FileInfo, name: str) -> Value:
    """A name of a module's top level, evaluated when it is first asked for."""
    key = (file.filename, name)
    if key in m.modules:
        return m.modules[key]
    found = m.program.lookup(file, name)
    if isinstance(found, FunctionInfo | ClassInfo) or (found is not None and name not in file.bindings):
        m.modules[key] = made = meaning(m, found, file.imports.get(name, ""))
        return made
    if name in file.bindings:
        m.modules[key] = Place(name)
        m.modules[key] = made = run_bindings(m, file, name)
        if isinstance(made, Ref) and made.kind != "object":
            fill(m, file, name)
        return made
    return Library(f"builtins.{name}")


def attribute(m: Machine, value: Value, name: str) -> Value:
    """``value.name``."""
    match value:
        case Ref(kind="object"):
            return load_attribute(m, value, name)
        case Place():
            if value.made == "state dict" and name == "files":
                return value
            stored = m.heap.read(("place", value.path), name)
            if stored is None or stored is ABSENT:
                return _of_place(m, value, name)
            if isinstance(stored, Union) and any(option.value is ABSENT for option in stored.options):
                before = _of_place(m, value, name)  # where the code that sets it was not run
                return join([(before if o.value is ABSENT else o.value, o.guards) for o in stored.options])
            return stored  # type: ignore[no-any-return]
        case Klass(info=cls):
            return class_attribute(m, cls, name, value)
        case Library(name=dotted_name) if dotted_name.startswith("file::"):
            file = m.program.file(dotted_name.removeprefix("file::"))
            if file is None:
                return UNKNOWN
            if name in file.bindings or m.program.lookup(file, name) is not None:
                return global_value(m, file, name)
            inner = m.program.module_file(f"{file.module}.{name}")
            return (
                Library(f"file::{inner.filename}") if inner is not None else Library(f"{file.module}.{name}")
            )
        case Library(name=dotted_name):
            return meaning(m, m.program.dotted(f"{dotted_name}.{name}"), f"{dotted_name}.{name}")
        case Tensor():
            return tensor_attribute(m, value, name)
        case Partial(callee=callee) if name == "func":
            return callee
        case Const(value=None):
            return UNKNOWN
        case Element(source=source):
            return attribute(m, Place(f"{path_of(source)}[*]"), name)
        case Ref(kind="dict") if name == "files":  # of numpy's archive
            held = m.elements(value)
            return UNKNOWN if held is None else m.new_list(*held)
        case Ref() | Text() | Tup() | Number():
            return Method(value, name)
        case _:
            return Method(value, name)


def _of_place(m: Machine, value: Place, name: str) -> Value:
    if value.weak and value.role in ("A", "B") and name in OF_WRAPPED_LAYERS:
        return Place(m.place(name, value).path, OF_WRAPPED_LAYERS[name])  # `up_proj` of the model itself
    known = tensor(value)
    if known is not None and known.kind in ("A", "B") and name in TENSOR_ATTRIBUTES:
        return tensor_attribute(m, known, name)
    if name == "ndim" and value.role == ALPHA:
        return NDIM_OF_ALPHA
    if name in ("shape", "ndim", "dtype", "device"):
        return Method(value, name)
    made = m.place(name, value)
    if made.role is None and value.role in ("A", "B") and name in ("weight", "data", "T"):
        made = Place(made.path, value.role, value.weak)
    return made
