"""Which project classes an attribute, an element or a local holds instances of.

``self.lora = LoRALayer(...)`` makes ``self.lora(x)`` a call of ``LoRALayer.forward``: the delta is made
in one class and added to the base in another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lorascale_lint.facts.extract import dotted_name
from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Choice,
    Const,
    Element,
    Global,
    Item,
    Local,
    Mapping,
    Param,
    Sequence,
    Term,
    is_none,
)

if TYPE_CHECKING:
    from lorascale_lint.model.project import Class, Function, Project

_CONTAINERS = frozenset("ModuleList ModuleDict list dict Sequential OrderedDict defaultdict".split())
_CALLED = ("forward", "__call__", "call")
LIMIT = 4
_NAMES = re.compile(r"[A-Za-z_][\w.]*")
_NO_CLASSES = frozenset(["None", "Optional", "Union"])


def called_instances(
    project: Project, term: Term, caller: Function, self_class: Class | None
) -> tuple[Function, ...]:
    """The methods that run when the object ``term`` is called as a function."""
    found: list[Function] = []
    for cls in instances(project, term, caller, self_class):
        method = next((m for name in _CALLED if (m := project.method(cls, name)) is not None), None)
        if method is None:
            return ()
        found.append(method)
    return tuple(dict.fromkeys(found))


def instances(project: Project, term: Term, caller: Function, self_class: Class | None) -> tuple[Class, ...]:
    """Classes of the object ``term``; empty if anything else may be there."""
    from lorascale_lint.model.project import Class, is_receiver  # the project asks here for its callees

    owner = self_class or caller.owner
    stored: list[tuple[Term, Function]] = []
    match term:
        case Call(func=Global() | Attr() | Local() as func):
            name = dotted_name(func)
            made = project.definition(caller.module, caller.filename, name) if name else None
            return (made,) if isinstance(made, Class) else ()
        case Attr(base=base, name=name) if owner is not None and is_receiver(base, caller):
            writes = [write for write in project.writes(owner, name) if write.on_self]
            if any(not isinstance(write.event.target, Attr) or write.event.sign for write in writes):
                return ()
            stored = [(write.event.value, write.function) for write in writes]
        case Item(base=Attr() as container) | Element(source=Attr() as container):
            stored = list(_elements(project, container, caller, owner))
        case Element(source=Call(func=Attr(base=Attr() as container, name="values"))):
            stored = list(_elements(project, container, caller, owner))
        case Item(
            base=Element(source=Call(func=Attr(base=Attr() as container, name="items"))), key=Const(value=1)
        ):
            stored = list(_elements(project, container, caller, owner))
        case Param():
            stored = [(term, caller)]
        case _:
            return ()
    found: dict[Class, None] = {}
    pending = [(value, function) for value, function in stored if not is_none(value)]
    while pending:
        value, function = pending.pop()
        if isinstance(value, Choice):
            pending += [(value.then, function), (value.other, function)]
        elif not is_none(value):
            held = _annotated(project, value, function) if isinstance(value, Param) else ()
            if isinstance(value, Call):
                held = instances(project, value, function, None)
            if not held:
                return ()
            for cls in held:
                found[cls] = None
    return tuple(found) if len(found) <= LIMIT else ()


def _annotated(project: Project, term: Param, function: Function) -> tuple[Class, ...]:
    """Classes that the annotation of a parameter names (``LoRALayer | None``), with their subclasses."""
    from lorascale_lint.model.project import Class

    parameter = function.parameter(term.name) if term.function == function.facts.qualname else None
    names = _NAMES.findall(parameter.annotation) if parameter is not None else []
    found: dict[Class, None] = {}
    for name in names:
        if name.rpartition(".")[2] in _NO_CLASSES:
            continue
        made = project.definition(function.module, function.filename, name)
        if not isinstance(made, Class):
            return ()
        found.update(dict.fromkeys((made, *project.subclasses(made))))
    return tuple(found) if len(found) <= LIMIT else ()


def _elements(
    project: Project, container: Attr, caller: Function, owner: Class | None
) -> Iterator[tuple[Term, Function]]:
    """What is stored under a key of ``self.container``, or given to it when it is made."""
    from lorascale_lint.model.project import is_receiver

    if owner is None or not is_receiver(container.base, caller):
        return
    for write in project.writes(owner, container.name):
        value = write.event.value
        if isinstance(write.event.target, Item):
            yield value, write.function
            continue
        while isinstance(value, Call) and _name(value) in _CONTAINERS:
            if not value.args:
                break
            value = value.args[0]
        if isinstance(value, Sequence):
            yield from ((item, write.function) for item in value.items)
        elif isinstance(value, Mapping):
            yield from ((item, write.function) for _, item in value.pairs)
        elif not (isinstance(value, Call) and _name(value) in _CONTAINERS):
            yield value, write.function


def _name(call: Call) -> str:
    return call.func.name if isinstance(call.func, Attr | Global) else ""
