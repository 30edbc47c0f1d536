"""What of a method can change what is older than its call: all that is run where nobody asks for its result.

Found backwards, from the statements that write on an object, or into one, or call what does, to those that
give the names which they read, and to the exits before them. It goes as `statements.py` runs code: a handler
begins where its ``try`` does, and a loop may run again.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from lorascale_lint.bounds import KEPT_STATEMENTS
from lorascale_lint.knowledge.intent import LOGS
from lorascale_lint.linking.definitions import ClassInfo, FunctionInfo, below, dotted
from lorascale_lint.linking.program import Program
from lorascale_lint.provenance.receivers import apart, changed, first_of, root, stays_apart

Live = frozenset[str]
"""Names whose values are read behind a place."""
_NOBODY: Live = frozenset()
_ONLY_ASK = (
    frozenset("isinstance issubclass hasattr getattr callable type id len str repr super".split()) | LOGS
)


class Effects:
    """The statements of functions that matter to what they change, as the classes of a program are."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._changing: dict[ClassInfo, frozenset[str]] = {}

    def of(self, info: FunctionInfo, cls: ClassInfo | None) -> tuple[list[ast.stmt], Live] | None:
        """What to run of a method of ``cls``, and the parameters that it reads; None for all of it."""
        body = info.node.body
        first = first_of(info)
        if cls is None or first is None or not isinstance(body, list):
            return None
        changing = self._changing_of(cls)
        called = frozenset(name for name in _own_calls(info, first) if name in changing)
        return _effects(info, called)

    def _changing_of(self, cls: ClassInfo) -> frozenset[str]:
        """Names of methods that may change their object, or call one that does."""
        known = self._changing.get(cls)
        if known is None:
            calls: dict[FunctionInfo, frozenset[str]] = {}
            found = set()
            for item in self._program.mro(cls):
                for name, info in item.methods.items():  # both while what stands below it is known
                    calls[info] = _own_calls(info, first_of(info))
                    found |= {name} if _writes(info) else set()
            more = found
            while more:
                more = {info.name for info, called in calls.items() if called & found} - found
                found |= more
            known = self._changing[cls] = frozenset(found)
        return known


@lru_cache(maxsize=20_000)
def _own_calls(info: FunctionInfo, first: str | None) -> frozenset[str]:
    """Names of the methods of the receiver, or of ``super()``, that the body calls."""
    found = set()
    for node in info.nodes:
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method)) if name == first:
                found.add(method)
            case ast.Call(func=ast.Attribute(value=ast.Call(func=ast.Name(id="super")), attr=method)):
                found.add(method)
    return frozenset(found)


@lru_cache(maxsize=20_000)
def _writes(info: FunctionInfo) -> bool:
    """Does the body write on or into something that it did not make?"""
    targets = list(changed(info.nodes, first_of(info)))
    own = apart(info)[0] if targets else set()
    return any(not stays_apart(target, own) for target in targets)


@lru_cache(maxsize=20_000)
def _effects(info: FunctionInfo, called: frozenset[str]) -> tuple[list[ast.stmt], Live] | None:
    try:
        slicer = _Slicer(info, called)
        body = info.node.body
        assert isinstance(body, list)
        made, live = slicer.block(body, _NOBODY, False, False)
    except RecursionError:
        return None
    return made, live


class _Slicer:
    """Goes through one function backwards; ``called`` are methods of its receiver that change it."""

    def __init__(self, info: FunctionInfo, called: frozenset[str]) -> None:
        self._info = info
        self._called = called
        self._first = first_of(info)
        self._own = apart(info)[0]
        self._given = {*info.parameters} - {self._first}
        self._known: dict[ast.AST, bool] = {}
        self._acting: set[str] = set()
        self._acting = {
            node.name
            for node in info.nodes
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node is not info.node
            if any(self._acts(statement) for statement in node.body)
        }
        """Functions inside it that change something."""
        self._known = {}

    def block(
        self, body: Sequence[ast.stmt], live: Live, after: bool, inside: bool
    ) -> tuple[list[ast.stmt], Live]:
        """What to run of a suite, and what that reads.

        ``after`` if something is run behind it in the function, ``inside`` if so in the loop around it.
        """
        kept: list[ast.stmt] = []
        for statement in reversed(body):
            made, live = self._statement(statement, live, after or bool(kept), inside or bool(kept))
            if made is not None:
                kept.append(made)
        return kept[::-1], live

    def _statement(
        self, node: ast.stmt, live: Live, after: bool, inside: bool
    ) -> tuple[ast.stmt | None, Live]:
        handler = _COMPOUND.get(type(node))
        if handler is not None:
            return handler(self, node, live, after, inside)
        match node:
            case ast.Return():
                if self._acts(node):
                    return node, _read(node)
                return (_without_value(node) if after else None), _NOBODY if after else live
            case ast.Raise():
                return (node, _NOBODY) if after else (None, live)
            case ast.Continue() | ast.Break():
                return (node if inside else None), live
            case ast.Assert() | ast.Global() | ast.Nonlocal():
                return (node, live | _read(node)) if after else (None, live)
            case ast.Delete():
                keeps = any(
                    isinstance(target, ast.Subscript)
                    and (root(target) in live or not stays_apart(target, self._own))
                    for target in node.targets
                )
                return (node, live | _read(node)) if keeps else (None, live)
        if not (self._acts(node) or self._changes(node, live)):
            return None, live
        return node, (live - _sets(node)) | _read(node)

    # ---- statements that hold others ----------------------------------------------------

    def _if(self, node: ast.If, live: Live, after: bool, inside: bool) -> tuple[ast.stmt | None, Live]:
        body, one = self.block(node.body, live, after, inside)
        other, two = self.block(node.orelse, live, after, inside)
        if not body and not other and not self._acts(node.test) and not _binds(node.test, live):
            return None, live
        return _part(node, body=body, orelse=other), one | two | _read(node.test)

    def _loop(
        self, node: ast.For | ast.AsyncFor | ast.While, live: Live, after: bool, inside: bool
    ) -> tuple[ast.stmt | None, Live]:
        other, behind = self.block(node.orelse, live, after, inside)
        target = None if isinstance(node, ast.While) else node.target
        head = node.test if isinstance(node, ast.While) else node.iter
        again, body = behind | live, list[ast.stmt]()
        while True:  # what a round reads, the round before may have set
            kept, reads = self.block(node.body, again, after or bool(body), bool(body))
            if reads <= again and bool(kept) == bool(body):
                break
            again, body = again | reads, kept
        binds = target is not None and _binds(target, again)
        if not body and not other and not binds and not self._acts(head):
            return None, live
        held = _NOBODY if target is None else _read(target)
        return _part(node, body=body, orelse=other), again | held | _read(head)

    def _with(
        self, node: ast.With | ast.AsyncWith, live: Live, after: bool, inside: bool
    ) -> tuple[ast.stmt | None, Live]:
        body, reads = self.block(node.body, live, after, inside)
        named = [item.optional_vars for item in node.items if item.optional_vars is not None]
        heads = [item.context_expr for item in node.items]
        if not body and not any(_binds(name, live) for name in named) and not any(map(self._acts, heads)):
            return None, live
        return _part(node, body=body), reads.union(*map(_read, heads))

    def _try(
        self, node: ast.Try | ast.TryStar, live: Live, after: bool, inside: bool
    ) -> tuple[ast.stmt | None, Live]:
        final, behind = self.block(node.finalbody, live, after, inside)
        after, inside = after or bool(final), inside or bool(final)
        other, last = self.block(node.orelse, behind, after, inside)
        body, reads = self.block(node.body, last, after or bool(other), inside or bool(other))
        handlers = []
        for handler in node.handlers:
            inner, more = self.block(handler.body, behind, after, inside)
            handlers.append(_part(handler, body=inner))
            reads |= more
        if not (body or other or final or any(handler.body for handler in handlers)):
            return None, live
        return _part(node, body=body, orelse=other, finalbody=final, handlers=handlers), reads

    def _match(self, node: ast.Match, live: Live, after: bool, inside: bool) -> tuple[ast.stmt | None, Live]:
        cases, reads = [], live
        for case in node.cases:
            inner, more = self.block(case.body, live, after, inside)
            cases.append(_part(case, body=inner))
            reads |= more | (_read(case.guard) if case.guard is not None else _NOBODY)
        if not any(case.body for case in cases) and not self._acts(node.subject):
            return None, live
        return _part(node, cases=cases), reads | _read(node.subject)

    def _definition(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, live: Live, *_: bool
    ) -> tuple[ast.stmt | None, Live]:
        return (node, live | _read(node)) if node.name in live else (None, live)

    # ---- what one statement does ----------------------------------------------------------

    def _acts(self, node: ast.AST) -> bool:
        """Does it, or an expression in it, write on what may be older than the call, or call what does?"""
        known = self._known.get(node)
        if known is None:
            nodes = below(node)
            known = self._known[node] = any(
                not stays_apart(target, self._own) for target in changed(nodes, self._first)
            ) or any(
                self._call_acts(inner)
                if isinstance(inner, ast.Call)
                else isinstance(inner, ast.Name) and inner.id in self._acting
                for inner in nodes
            )
        return known

    def _call_acts(self, call: ast.Call) -> bool:
        match call.func:
            case ast.Attribute(value=ast.Name(id=owner), attr=name) if owner == self._first:
                return name in self._called
            case ast.Attribute(value=ast.Call(func=ast.Name(id="super")), attr=name):
                return name in self._called
            case ast.Name(id=name):
                told = name not in _ONLY_ASK and name not in self._given
            case ast.Attribute(attr=name):
                told = name not in LOGS
            case _:
                told = True
        given = (*call.args, *(keyword.value for keyword in call.keywords))
        return told and any(isinstance(item, ast.Name) and item.id == self._first for item in given)

    def _changes(self, node: ast.stmt, live: Live) -> bool:
        """Does it set a live name, or something in what one names?"""
        if _binds(node, live):
            return True
        nodes = below(node)
        if any(root(target) in live for target in changed(nodes, self._first)):
            return True
        for inner in nodes:
            if not isinstance(inner, ast.Call):
                continue
            given = (*inner.args, *(keyword.value for keyword in inner.keywords))
            if any(isinstance(item, ast.Name) and item.id in live & self._own for item in given):
                return True
            match inner.func:
                case ast.Attribute(value=ast.Name(id=name)) if name in live & (self._own | self._given):
                    return True
        match node:
            case ast.Expr(value=ast.Call(func=func) as call):
                given = (*call.args, *(keyword.value for keyword in call.keywords))
                owner = func.value if isinstance(func, ast.Attribute) else None
                own = isinstance(owner, ast.Name) and owner.id == self._first
                if own or dotted(func).rpartition(".")[2] in _ONLY_ASK:
                    return False
                return self._first in map(root, (owner, *given)) or root(owner) in live
            case _:
                return False


_COMPOUND: dict[type[ast.stmt], Callable[..., tuple[ast.stmt | None, Live]]] = {
    ast.If: _Slicer._if,
    ast.For: _Slicer._loop,
    ast.AsyncFor: _Slicer._loop,
    ast.While: _Slicer._loop,
    ast.With: _Slicer._with,
    ast.AsyncWith: _Slicer._with,
    ast.Try: _Slicer._try,
    ast.TryStar: _Slicer._try,
    ast.Match: _Slicer._match,
    ast.FunctionDef: _Slicer._definition,
    ast.AsyncFunctionDef: _Slicer._definition,
    ast.ClassDef: _Slicer._definition,
}


def _part(node: Any, **suites: Any) -> Any:
    """The node with less in its suites; itself where nothing is left out. It knows what it is a part of."""
    if all(
        len(suite) == len(old) and all(one is other for one, other in zip(suite, old, strict=True))
        for name, suite in suites.items()
        for old in (getattr(node, name),)
    ):
        return node
    fields = {name: getattr(node, name) for name in node._fields if hasattr(node, name)}
    made = type(node)(**{**fields, **suites})
    if hasattr(node, "lineno"):
        ast.copy_location(made, node)
    made.whole = node
    return made


def _without_value(node: ast.Return) -> ast.Return:
    return node if node.value is None else ast.copy_location(ast.Return(None), node)


@lru_cache(maxsize=KEPT_STATEMENTS)
def _read(node: ast.AST) -> Live:
    """Names that are read in it, those inside functions included; what is changed in place is read."""
    names = (inner for inner in below(node) if isinstance(inner, ast.Name))
    found = {name.id for name in names if not isinstance(name.ctx, ast.Store)}
    if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
        found.add(node.target.id)
    return frozenset(found)


@lru_cache(maxsize=KEPT_STATEMENTS)
def _bound(node: ast.AST) -> Live:
    found = set()
    for inner in below(node):
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
            found.add(inner.id)
        elif isinstance(inner, ast.alias):
            found.add(inner.asname or inner.name.partition(".")[0])
    return frozenset(found)


def _binds(node: ast.AST, live: Live) -> bool:
    """Does it set one of these names?"""
    return not live.isdisjoint(_bound(node))


def _sets(node: ast.stmt) -> Live:
    """Names that it surely gives a new value."""
    match node:
        case ast.Assign(targets=targets):
            plain = [
                item
                for target in targets
                for item in (target.elts if isinstance(target, ast.Tuple | ast.List) else (target,))
            ]
            return frozenset(item.id for item in plain if isinstance(item, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr()):
            return frozenset([name])
        case _:
            return _NOBODY


__all__ = ["Effects"]
