"""Statements: branches taken both ways and joined, loops run once or item by item, early exits remembered."""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from lorascale_lint.bounds import KEPT_STATEMENTS, MORE_STEPS, STEP_LIMIT
from lorascale_lint.ledger.entries import Return
from lorascale_lint.linking.definitions import ClassInfo, FileInfo, FunctionInfo
from lorascale_lint.linking.program import _import as collect
from lorascale_lint.provenance.arithmetic import binary
from lorascale_lint.provenance.assignment import assign
from lorascale_lint.provenance.conditions import assume, test
from lorascale_lint.provenance.containers import remove_item, spread
from lorascale_lint.provenance.decorators import decorated
from lorascale_lint.provenance.guards import Guards
from lorascale_lint.provenance.heap import Items
from lorascale_lint.provenance.lookups import read_entry, wrote
from lorascale_lint.provenance.loops import for_loop, join_names, while_loop
from lorascale_lint.provenance.machine import Machine, OutOfSteps, hole
from lorascale_lint.provenance.names import meaning
from lorascale_lint.provenance.patterns import pattern
from lorascale_lint.provenance.tensors import number
from lorascale_lint.provenance.values import (
    NONE,
    UNKNOWN,
    Closure,
    Klass,
    Place,
    Ref,
    Value,
    options,
)


def block(m: Machine, body: list[ast.stmt]) -> bool:
    """Run a suite; True if control never reaches its end."""
    outer = m.frame.guards
    for statement in body:
        if _run_or_leave_out(m, statement):
            m.frame.guards = outer
            return True
    return False


def _run_or_leave_out(m: Machine, statement: ast.stmt) -> bool:
    journals, guards, steps = len(m.heap.journals), m.frame.guards, m.steps
    try:
        return run(m, statement)
    except (RecursionError, OutOfSteps) as error:
        # Of a statement that holds others, the one inside is left out.
        if isinstance(statement, _COMPOUND) or not m.may_go_on(error):
            raise
        m.give_up(statement, isinstance(error, RecursionError), journals, guards)
        if isinstance(error, OutOfSteps) and steps + MORE_STEPS > STEP_LIMIT:
            return _run_or_leave_out(m, statement)  # what came before took the steps
    return False


_COMPOUND = (ast.If, ast.For, ast.While, ast.With, ast.Try, ast.Match, ast.AsyncFor, ast.AsyncWith)


def run(m: Machine, node: ast.stmt) -> bool:
    """Run one statement; True if control never goes on behind it."""
    m.tick()
    m.stack[-1].statement = _rows(node)
    handler = _HANDLERS.get(type(node))
    return handler is not None and bool(handler(m, node))


def _expression(m: Machine, node: ast.Expr) -> None:
    m.frame.dropped = node.value
    m.evaluate(node.value)


def _assign(m: Machine, node: ast.Assign) -> None:
    result = m.evaluate(node.value)
    for target in node.targets:
        assign(m, target, result)


def _annotated(m: Machine, node: ast.AnnAssign) -> None:
    if node.value is not None:
        assign(m, node.target, m.evaluate(node.value))


def _return(m: Machine, node: ast.Return) -> bool:
    result = NONE if node.value is None else m.evaluate(node.value)
    m.frame.returns.append((result, m.frame.guards))
    if m.recording:
        m.ledger.returns.append(Return(m.spot(node), result, m.frame.guards))
    m.frame.exits.append((m.heap.changes(m.frame.journal), m.frame.guards))
    return True


def _leave_round(m: Machine, node: ast.Continue | ast.Break) -> bool:
    changed = m.heap.changes(m.frame.round)
    m.frame.breaks.append((dict(m.frame.names.local), m.frame.guards, changed))
    m.frame.broke = isinstance(node, ast.Break)
    m.frame.skipped = node if isinstance(node, ast.Continue) else None
    return True


def _with(m: Machine, node: ast.With | ast.AsyncWith) -> bool:
    managers: list[Ref] = []
    for item in node.items:
        held = m.evaluate(item.context_expr)
        if isinstance(held, Ref) and held.kind == "object" and held.cls is not None:
            managers.append(held)
            held = _of_manager(m, held, "__enter__", [])
        if item.optional_vars is not None:
            assign(m, item.optional_vars, held)
    ended = block(m, node.body)
    for manager in reversed(managers):
        _of_manager(m, manager, "__exit__", [UNKNOWN, UNKNOWN, UNKNOWN])
    return ended


def _of_manager(m: Machine, manager: Ref, name: str, args: list[Value]) -> Value:
    """What an object of the project does where a ``with`` begins or ends."""
    found = m.program.method(manager.cls, name) if manager.cls is not None else None
    if found is None:
        return manager
    return m.call(Closure(found[0], manager, owner=found[1]), args, [], None)


def _function(m: Machine, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    frame = m.frame
    qualname = f"{frame.function.qualname if frame.function else ''}.{node.name}"
    info = FunctionInfo(frame.file, node, qualname)
    made: Value = Closure(info, None, frame.names, owner=frame.owner)
    m.defined.append((Closure(info, None, frame.names, owner=frame.owner), frame, frame.guards))
    frame.names.local[node.name] = decorated(m, node, made)


def _class(m: Machine, node: ast.ClassDef) -> None:
    frame = m.frame
    cls = ClassInfo(frame.file, node, node.name)
    for part in node.body:
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
            cls.methods[part.name] = FunctionInfo(frame.file, part, f"{node.name}.{part.name}", cls)
    cls.names = frame.names
    m.defined += [
        (Closure(info, None, frame.names, owner=cls), frame, frame.guards) for info in cls.methods.values()
    ]
    frame.names.local[node.name] = Klass(cls)


def _assert(m: Machine, node: ast.Assert) -> None:
    test(m, node.test)
    assume(m, node.test, True)


def _delete(m: Machine, node: ast.Delete) -> None:
    for target in node.targets:
        if isinstance(target, ast.Name):
            m.frame.names.local.pop(target.id, None)
        elif isinstance(target, ast.Subscript):
            base = m.evaluate(target.value)
            key = m.evaluate(target.slice)
            read_entry(m, target, base, key, remove_item(m, base, key), "del")


def _import(m: Machine, node: ast.Import | ast.ImportFrom) -> None:
    frame = m.frame
    probe = FileInfo(frame.file.filename, frame.file.module, frame.file.tree, "", frame.file.is_package)
    collect(probe, node)
    for name, target in probe.imports.items():
        frame.names.local[name] = meaning(m, m.program.dotted(target), target)


@lru_cache(maxsize=KEPT_STATEMENTS)
def _rows(node: ast.stmt) -> tuple[int, int]:
    """The first and the last row of a statement, or of the head of one that holds others."""
    node = getattr(node, "whole", node)
    body = getattr(node, "body", None) or getattr(node, "cases", None)
    if isinstance(body, list) and body:
        first = body[0]
        held = getattr(first, "pattern", None)
        row: int = getattr(first, "lineno", None) or getattr(held, "lineno", None) or node.lineno
        return node.lineno, max(node.lineno, row - 1)
    return node.lineno, node.end_lineno or node.lineno


def _augment(m: Machine, node: ast.AugAssign) -> None:
    old = m.evaluate(_loaded(node.target))
    value = m.evaluate(node.value)
    held = m.elements(old)
    if isinstance(node.op, ast.Add) and isinstance(old, Ref) and old.kind == "list" and held is not None:
        more, others = spread(m, value)
        m.heap.write(old.key, "items", Items((*held[0], *more), held[1] or others))
        return
    result = binary(m, node, node.op, old, value)
    if isinstance(node.op, ast.Mult | ast.Div) and m.initialising and number(value) is not None:
        return  # start values: what they are divided by is what training multiplies back
    if isinstance(node.op, ast.Mult | ast.Div) and isinstance(old, Place) and old.under is not None:
        container = Place(old.path.rpartition("[")[0])  # a tensor of it is changed in place
        wrote(m, node, container, hole(old.under), result)
    assign(m, node.target, result)


def _loaded(target: ast.expr) -> ast.expr:
    match target:
        case ast.Name(id=name):
            return ast.copy_location(ast.Name(name, ast.Load()), target)
        case ast.Attribute(value=value, attr=attr):
            return ast.copy_location(ast.Attribute(value, attr, ast.Load()), target)
        case ast.Subscript(value=value, slice=key):
            return ast.copy_location(ast.Subscript(value, key, ast.Load()), target)
        case _:
            return target


def _if(m: Machine, node: ast.If) -> bool:
    known = test(m, node.test)
    if known is not None:
        return block(m, node.body if known else node.orelse)
    frame = m.frame
    name = m.atom(node.test)
    guards, before = frame.guards, dict(frame.names.local)

    m.heap.begin()
    assume(m, node.test, True, name)
    inside = frame.guards[len(guards) :] if frame.guards[: len(guards)] == guards else ((name, True),)
    then_ends = block(m, node.body)
    after_then, made_then = frame.names.local, m.heap.undo()

    frame.guards, frame.names.local = guards, before
    m.heap.begin()
    assume(m, node.test, False, name)
    outside = frame.guards[len(guards) :] if frame.guards[: len(guards)] == guards else ((name, False),)
    else_ends = block(m, node.orelse)
    made_else = m.heap.undo()

    frame.guards = guards
    if then_ends and else_ends:
        return True
    if then_ends or else_ends:
        made, names, own = (
            (made_else, frame.names.local, outside) if then_ends else (made_then, after_then, inside)
        )
        m.heap.apply([(made, ())])
        frame.names.local = names
        frame.guards = (*guards, *own)
        return False
    if not node.orelse and _is_not_one(m, node.test):
        m.heap.apply([(made_then, ())])
        frame.names.local = after_then
        return False
    m.heap.apply([(made_then, inside), (made_else, outside)])
    frame.names.local = join_names([(after_then, inside), (frame.names.local, outside)])
    return False


def _is_not_one(m: Machine, test: ast.expr) -> bool:
    """``if scale != 1``: what is left out for 1 would have changed nothing."""
    match test:
        case ast.Compare(left=left, ops=[ast.NotEq()], comparators=[ast.Constant(value=1 | 1.0)]):
            asked = [option.value for option in options(m.evaluate(left))]
            return all((known := number(value)) is not None and bool(known.scale.powers) for value in asked)
        case _:
            return False


def _try(m: Machine, node: ast.Try | ast.TryStar) -> bool:
    frame = m.frame
    guards, before = frame.guards, dict(frame.names.local)
    m.heap.begin()
    ended = block(m, node.body) or block(m, node.orelse)
    ways: list[tuple[dict[str, Value], Guards]] = [] if ended else [(frame.names.local, ())]
    made: list[tuple[dict[Any, Any], Guards]] = [] if ended else [(m.heap.changes(), ())]
    m.heap.undo()
    for index, handler in enumerate(node.handlers):
        frame.guards, frame.names.local = guards, dict(before)
        name = f"exception {index} in row {node.lineno}"
        m.heap.begin()
        m.assume(name, True)
        if not block(m, handler.body):
            ways.append((frame.names.local, ((name, True),)))
            made.append((m.heap.changes(), ((name, True),)))
        m.heap.undo()
    frame.guards = guards
    if ways:
        m.heap.apply(made)
        frame.names.local = join_names(ways)
    return block(m, node.finalbody) or not ways


def _match(m: Machine, node: ast.Match) -> bool:
    subject = m.evaluate(node.subject)
    frame = m.frame
    guards, before = frame.guards, dict(frame.names.local)
    ways: list[tuple[dict[str, Value], Guards]] = []
    made: list[tuple[dict[Any, Any], Guards]] = []
    complete = False
    denied: Guards = ()
    for index, case in enumerate(node.cases):
        frame.guards, frame.names.local = guards, dict(before)
        name = f"case {index} in row {node.lineno}"
        known = pattern(m, case.pattern, subject)
        if known is False:
            continue
        m.heap.begin()
        sure = known is True and case.guard is None
        own = denied if sure else (*denied, (name, True))
        for atom in () if sure else own:
            m.assume(*atom)
        if not block(m, case.body):
            ways.append((frame.names.local, own))
            made.append((m.heap.changes(), own))
        m.heap.undo()
        denied = (*denied, (name, False))
        if sure:
            complete = True
            break
    frame.guards = guards
    if not complete:
        ways.append((before, denied))
        made.append(({}, denied))
    if not ways:
        return True
    m.heap.apply(made)
    frame.names.local = join_names(ways)
    return False


_HANDLERS: dict[type[ast.stmt], Callable[[Machine, Any], bool | None]] = {
    ast.Expr: _expression,
    ast.Assign: _assign,
    ast.AnnAssign: _annotated,
    ast.AugAssign: _augment,
    ast.Return: _return,
    ast.Raise: lambda m, node: True,
    ast.Continue: _leave_round,
    ast.Break: _leave_round,
    ast.If: _if,
    ast.For: for_loop,
    ast.AsyncFor: for_loop,
    ast.While: while_loop,
    ast.With: _with,
    ast.AsyncWith: _with,
    ast.Try: _try,
    ast.TryStar: _try,
    ast.Match: _match,
    ast.FunctionDef: _function,
    ast.AsyncFunctionDef: _function,
    ast.ClassDef: _class,
    ast.Assert: _assert,
    ast.Import: _import,
    ast.ImportFrom: _import,
    ast.Delete: _delete,
}
"""What each kind of statement does; all but those that leave or hold others give None."""
