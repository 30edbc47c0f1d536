"""Which methods can change the object that they are called on, by what their own body does."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache

from lorascale_lint.knowledge.members import GIVES_FIELD, MAKES_CONTAINERS, ONLY_FILLS
from lorascale_lint.knowledge.operations import changes_receiver
from lorascale_lint.linking.definitions import FunctionInfo


@lru_cache(maxsize=20_000)
def may_change_receiver(info: FunctionInfo) -> bool:
    """Does the method write fields of its receiver, or into them, or into what may be one?

    What it puts into a container of its own, or into one that its caller gives, is no part of the receiver. A
    method of the class has no object to change, but for what it writes on the class.
    """
    first = first_of(info)
    targets = list(changed(info.nodes, first))
    if not targets:
        return False
    if info.is_static or info.has("classmethod"):
        return any(root(target) == first for target in targets if first is not None)
    own, callers = apart(info)
    return _calls_own(info, first) or any(not stays_apart(target, own, callers) for target in targets)


def first_of(info: FunctionInfo) -> str | None:
    """The name of the receiver; None for a function without one."""
    args = info.node.args
    given = [parameter.arg for parameter in (*args.posonlyargs, *args.args, *args.kwonlyargs)]
    return None if info.is_static or not given else given[0]


def _calls_own(info: FunctionInfo, first: str | None) -> bool:
    """Does it call another method of the receiver, which may change that with arguments of this one?"""
    calls = (node.func for node in info.nodes if isinstance(node, ast.Call))
    owners = (func.value for func in calls if isinstance(func, ast.Attribute))
    return any(isinstance(owner, ast.Name) and owner.id == first for owner in owners)


def changed(nodes: Iterable[ast.AST], receiver: str | None) -> Iterator[ast.expr | None]:
    """What code writes on or into; None for an attribute by a computed name.

    ``self.expand_()`` is another method, run for itself, and no tensor that is changed in place.
    """
    for inner in nodes:
        match inner:
            case ast.Attribute(ctx=ast.Store()) | ast.Subscript(ctx=ast.Store()):
                yield inner
            case ast.Call(func=ast.Attribute(value=owner, attr=name)) if name in ONLY_FILLS:
                yield ast.Subscript(owner, ast.Constant(name), ast.Store())
            case ast.Call(func=ast.Attribute(value=owner, attr=name)) if name in GIVES_FIELD:
                yield ast.Attribute(owner, name, ast.Store())
            case ast.Call(func=ast.Attribute(value=owner, attr=name)) if changes_receiver(name):
                if not (isinstance(owner, ast.Name) and owner.id == receiver):
                    yield ast.Attribute(owner, name, ast.Store())
            case ast.Call(func=ast.Name(id="setattr")):
                yield None


def stays_apart(target: ast.expr | None, own: set[str], callers: Collection[str] = ()) -> bool:
    """Is it a container that the body makes, one of its names, or something in one of its ``callers``?"""
    match target:
        case ast.Subscript(value=ast.Name(id=name)) if name in own or name in callers:
            return True
        case ast.Subscript():
            return root(target) in callers
        case _:
            return False


def root(target: ast.expr | None) -> str | None:
    """The name from which a target is reached; None where there is none."""
    while isinstance(target, ast.Attribute | ast.Subscript | ast.Call | ast.Starred):
        target = target.func if isinstance(target, ast.Call) else target.value
    return target.id if isinstance(target, ast.Name) else None


def _rest(args: ast.arguments) -> list[str]:
    return [item.arg for item in (args.vararg, args.kwarg) if item is not None]


def apart(info: FunctionInfo) -> tuple[set[str], set[str]]:
    """Names of containers that the body makes, and of what its caller gives, bound to nothing else."""
    callers = {*info.parameters} - {first_of(info)}
    made: set[str] = set()
    other: set[str] = set()
    displays: set[int] = set()
    for inner in info.nodes:
        match inner:
            case (
                ast.Assign(targets=[ast.Name(id=name) as bound], value=value)
                | ast.AnnAssign(target=ast.Name(id=name) as bound, value=ast.expr() as value)
            ) if _is_new(value):
                made.add(name)
                displays.add(id(bound))
            case ast.Name(id=name, ctx=ast.Store()) if id(inner) not in displays:
                other.add(name)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda() if inner is not info.node:
                args = inner.args
                other |= {item.arg for item in (*args.posonlyargs, *args.args, *args.kwonlyargs)}
                other |= {*_rest(args)}
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                other.update(names)
    return made - other - callers, callers - other - made


def _is_new(value: ast.expr) -> bool:
    match value:
        case ast.Dict() | ast.List() | ast.Set() | ast.DictComp() | ast.ListComp() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name in MAKES_CONTAINERS
        case _:
            return False
