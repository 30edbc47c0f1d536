"""What fields, parameters and decorated options are by default, as entries of the ledger."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.knowledge.options import FIELD_CALLS, OPTION_CALLS
from lorascale_lint.knowledge.roles import NUMBERS, role_of
from lorascale_lint.ledger.entries import Default
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import ClassInfo, FileInfo, dotted
from lorascale_lint.provenance.frames import Frame
from lorascale_lint.provenance.heap import Names
from lorascale_lint.provenance.machine import Machine, OutOfSteps
from lorascale_lint.provenance.values import Value


def may_hold(source: str) -> bool:
    """Can a file declare a number of LoRA code with a default?"""
    return "alpha" in source or "rank" in source or "lora" in source.lower()


def record(m: Machine, file: FileInfo) -> None:
    """Write the defaults that ``file`` declares into the ledger; run decorators that declare options."""
    m.steps = 0
    frame = Frame(file, None, Names({}))
    frame.lora = True
    m.enter(frame)
    m.heap.begin()
    try:
        for info in file.all_functions:
            for decorator in getattr(info.node, "decorator_list", []):
                if isinstance(decorator, ast.Call) and _last(decorator.func) in OPTION_CALLS:
                    m.evaluate(decorator)
            for name, node in _parameters(info.node):
                _write(m, Spot(file, info, info.owner, node), name, node, "parameter", info.qualname)
        for cls in _classes(file.classes):
            for statement in cls.node.body:
                if isinstance(statement, ast.AnnAssign | ast.Assign) and statement.value is not None:
                    target = (
                        statement.target if isinstance(statement, ast.AnnAssign) else statement.targets[0]
                    )
                    if isinstance(target, ast.Name):
                        spot = Spot(file, None, cls, statement.value)
                        _write(m, spot, target.id, statement.value, "field", cls.qualname)
    except (OutOfSteps, RecursionError):
        pass
    finally:
        while len(m.heap.journals) > frame.journal + 1:
            m.heap.keep()
        m.heap.undo()
        m.stack.pop()


def _write(m: Machine, spot: Spot, name: str, node: ast.expr, how: str, owner: str) -> None:
    if role_of(name, True) not in NUMBERS:
        return
    value = _declared(m, node)
    if value is not None:
        m.ledger.defaults.append(Default(spot, name, value, how, owner))


def _declared(m: Machine, node: ast.expr) -> Value | None:
    """The value of a plain default, or of the one inside ``field(default=...)``."""
    if not isinstance(node, ast.Call):
        return m.evaluate(node)
    for argument in FIELD_CALLS.get(_last(node.func), ()):
        for keyword in node.keywords:
            if keyword.arg == argument:
                return m.evaluate(keyword.value)
        if argument.isdigit() and len(node.args) > int(argument):
            return m.evaluate(node.args[int(argument)])
    return None


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> Iterator[tuple[str, ast.expr]]:
    plain = [*node.args.posonlyargs, *node.args.args]
    for parameter, default in zip(
        plain[len(plain) - len(node.args.defaults) :], node.args.defaults, strict=True
    ):
        yield parameter.arg, default
    for parameter, given in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        if given is not None:
            yield parameter.arg, given


def _classes(found: dict[str, ClassInfo]) -> Iterator[ClassInfo]:
    for cls in found.values():
        yield cls
        yield from _classes(cls.inner)


def _last(node: ast.expr) -> str:
    return dotted(node).rpartition(".")[2]
