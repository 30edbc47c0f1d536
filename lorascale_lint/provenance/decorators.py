"""What a decorated function is: what its decorators return."""

from __future__ import annotations

import ast
from functools import partial

from lorascale_lint.immutable import replace
from lorascale_lint.knowledge.decorators import BINDING, gives_back
from lorascale_lint.linking.definitions import ClassInfo, FunctionInfo, dotted
from lorascale_lint.provenance.frames import Frame
from lorascale_lint.provenance.heap import Names
from lorascale_lint.provenance.machine import Machine
from lorascale_lint.provenance.values import (
    Closure,
    Klass,
    Library,
    Partial,
    Place,
    Ref,
    Union,
    Value,
    each,
)


def decorated(m: Machine, node: ast.FunctionDef | ast.AsyncFunctionDef, value: Value) -> Value:
    """What the decorators of ``node`` make of ``value``; they are names of the running frame."""
    for decorator in reversed(node.decorator_list):
        if not isinstance(value, Place):
            value = _decorated(m, decorator, value, node.name)
    return value


def function(m: Machine, info: FunctionInfo) -> Value:
    """What the name of a function of the project stands for; of a method, without a receiver.

    A place, called as the function, where a decorator out of sight makes something else of it.
    """
    plain = Closure(info, owner=info.owner)
    node = info.node
    if isinstance(node, ast.Lambda) or all(_name(item) in BINDING for item in node.decorator_list):
        return plain
    if info in m.decorated:
        return m.decorated[info]
    m.decorated[info] = plain  # for a decorator that calls what it decorates
    owner = info.owner
    names = Names({}, owner.names if owner is not None else None)
    for item in node.decorator_list:
        name = _name(item)
        if owner is not None and name in owner.methods and owner.methods[name] is not info:
            names.local[name] = Closure(owner.methods[name])
    frame = Frame(info.file, None, names, owner=owner)
    frame.lora = m.speaks(None, info.file, owner)
    with m.aside():
        m.enter(frame)
        try:
            m.decorated[info] = decorated(m, node, plain)
        except BaseException:
            del m.decorated[info]
            raise
        finally:
            m.leave(frame)
    return m.decorated[info]


def method(m: Machine, info: FunctionInfo, owner: ClassInfo, receiver: Value | None) -> Value:
    """The method as ``receiver`` has it, or its class if it is a class method."""
    return each(function(m, info), partial(_bound, m, info, owner, receiver))


def is_itself(m: Machine, info: FunctionInfo) -> bool:
    """Is a function what its text says, whatever decorates it?"""
    made = function(m, info)
    return isinstance(made, Closure) and made.info is info


def _bound(m: Machine, info: FunctionInfo, owner: ClassInfo, receiver: Value | None, value: Value) -> Value:
    match value:
        case Closure(info=own) if own is info:
            return Closure(info, None if info.is_static else receiver, owner=owner)
        case Closure(receiver=None) if receiver is not None and not info.is_static:
            return replace(value, given=(receiver, *value.given))
        case Ref(kind="object", cls=ClassInfo() as cls) if receiver is not None:
            getter = m.program.method(cls, "__get__")
            if getter is None:
                return value
            return m.call(Closure(getter[0], value, owner=getter[1]), [receiver, Klass(owner)], [], None)
        case _:
            return value


def _decorated(m: Machine, node: ast.expr, value: Value, name: str) -> Value:
    if _name(node) in BINDING:
        return value
    maker = m.evaluate(node.func if isinstance(node, ast.Call) else node)
    if isinstance(maker, Library | Place) and gives_back(_name(node)):
        return value
    if isinstance(node, ast.Call):
        maker = m.evaluate(node)
    if isinstance(maker, Partial) and isinstance(maker.callee, Library) and gives_back(maker.callee.name):
        return value
    if isinstance(maker, Closure | Klass | Partial | Ref | Union):
        made = m.call(maker, [value], [], None)
        if isinstance(made, Closure | Klass | Partial | Ref | Union | Library):
            return made
    return Place(name, made="call")


def _name(node: ast.expr) -> str:
    return dotted(node.func if isinstance(node, ast.Call) else node).rpartition(".")[2]


__all__ = ["decorated", "function", "is_itself", "method"]
