"""Mutants of the scale: of what the engine saw multiplied onto a delta, a factor or a norm."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from fractions import Fraction

from lorascale_lint.knowledge.roles import ALPHA, MULTIPLIER, RANK, SCALING, STRENGTH
from lorascale_lint.ledger.applications import Application, applications
from lorascale_lint.ledger.entries import Quotient
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.provenance.scale import Scale
from lorascale_lint.provenance.values import Multiplied, Number, Place, Tensor, Value, options
from mutation.edits import Mutant, Sheet, SheetOf, closed


def _powers(scale: Scale) -> dict[str, Fraction]:
    return {symbol.role: power for symbol, power in scale.by_role().powers}


def kind_of(scale: Scale) -> str:
    """Which part of a whole scale a number brings: the trained one, a strength, or one called scale."""
    powers = _powers(scale)
    if scale.unknowns() or any(power < 0 for role, power in powers.items() if role != RANK):
        return ""
    if powers.get(ALPHA) == 1 or powers.get(SCALING) == 1:
        return "scale"
    if powers == {STRENGTH: 1}:
        return "strength"
    return "scale" if powers == {MULTIPLIER: 1} else ""


def is_right(application: Application) -> bool:
    """Is each of its scales known, and the trained one or a number that stands for it, times a strength?"""
    return bool(application.branches) and all(
        not branch.reasons and _is_whole(branch.scale) for branch in application.branches
    )


def _is_whole(scale: Scale) -> bool:
    powers = _powers(scale)
    powers.pop(STRENGTH, None)
    if scale.coefficient not in (1, -1):
        return False
    rank = powers.pop(RANK, Fraction(0))
    multiplier = powers.pop(MULTIPLIER, Fraction(0))
    if powers in ({ALPHA: 1}, {SCALING: 1}):
        return multiplier in (0, 1) and (rank in (-1, Fraction(-1, 2)) if ALPHA in powers else not rank)
    return not powers and multiplier == 1 and not rank


def at_applications(ledger: Ledger, sheet_of: SheetOf) -> Iterator[Mutant]:
    """A number that is multiplied onto one application dropped, or multiplied twice; a sign turned."""
    for application in applications(ledger):
        if application.spot.file.is_test or not is_right(application):
            continue
        steps = {id(step.spot.node): step for branch in application.branches for step in branch.steps}
        for step in steps.values():
            yield from _of_step(step, application.kind, sheet_of)
        sheet = sheet_of(application.spot.file.filename)
        node = application.spot.node
        if sheet and application.kind == "unmerge" and isinstance(node, ast.AugAssign | ast.BinOp):
            yield from _turned(node, application, sheet)
    for norm in ledger.norms:
        if norm.of == "adapted" and not norm.spot.file.is_test and not norm.value.scale.unknowns():
            for step in norm.value.steps:
                yield from _of_step(step, "norm", sheet_of)


def _turned(node: ast.AugAssign | ast.BinOp, application: Application, sheet: Sheet) -> Iterator[Mutant]:
    if not isinstance(node.op, ast.Sub):
        return
    text = sheet.text(node)
    left = sheet.text(node.target if isinstance(node, ast.AugAssign) else node.left)
    right = sheet.text(node.value if isinstance(node, ast.AugAssign) else node.right)
    if text.startswith(left):
        sign = "+=" if isinstance(node, ast.AugAssign) else "+"
        yield from sheet.replaced("unmerge adds", node, f"{left} {sign} {right}", application.spot)


def _of_step(step: Multiplied, kind: str, sheet_of: SheetOf) -> Iterator[Mutant]:
    part = kind_of(step.scale)
    sheet = sheet_of(step.spot.file.filename)
    if sheet is None or not part or step.number is None or step.spot.file.is_test:
        return
    where = "" if kind in ("forward", "merge") else f" of {kind}"
    drop = "scale dropped" if part == "scale" else "strength ignored"
    for node, after in _without(step.spot.node, step.number, sheet):
        yield from sheet.replaced(drop + where, node, after, step.spot)
    divides = isinstance(step.spot.node, ast.BinOp | ast.AugAssign) and isinstance(step.spot.node.op, ast.Div)
    if not divides:
        number = sheet.text(step.number)
        twice = "scale twice" if part == "scale" else "strength squared"
        squared = closed(f"{closed(number)} * {closed(number)}")
        yield from sheet.replaced(twice + where, step.number, squared, step.spot)


def _without(node: ast.AST, number: ast.expr, sheet: Sheet) -> Iterator[tuple[ast.AST, str]]:
    """What stands in place of an operation without its number."""
    match node:
        case ast.BinOp(op=ast.Mult()):
            same = _same(node.right, number)
            if same or _same(node.left, number):
                yield node, closed(sheet.text(node.left if same else node.right))
        case ast.AugAssign(op=ast.Mult()):
            yield node, "pass"
        case ast.Call():
            yield number, "1.0"
        case _:
            pass


def _same(node: ast.AST, other: ast.AST) -> bool:
    place = ("lineno", "col_offset", "end_lineno", "end_col_offset")
    return all(getattr(node, name, None) == getattr(other, name, 0) for name in place)


# ---- alpha over the rank -------------------------------------------------------------------------


def at_quotients(ledger: Ledger, sheet_of: SheetOf) -> Iterator[Mutant]:
    """Alpha over the rank turned into alpha, one over the rank, rank over alpha, alpha over another size."""
    for entry in ledger.quotients:
        node = entry.spot.node
        sheet = sheet_of(entry.spot.file.filename)
        if sheet is None or entry.spot.file.is_test or not isinstance(node, ast.BinOp) or entry.floor:
            continue
        if not isinstance(node.op, ast.Div) or _is_only_told(node, sheet):
            continue
        root = _divides(entry)
        if root is None:
            continue
        left, right = sheet.text(node.left), sheet.text(node.right)
        yield from sheet.replaced("alpha undivided", node, closed(left), entry.spot)
        yield from sheet.replaced("alpha lost", node.left, "1.0", entry.spot)
        yield from sheet.replaced(
            "ratio inverted", node, closed(f"{closed(right)} / {closed(left)}"), entry.spot
        )
        yield from sheet.replaced("ratio floored", node, closed(f"{left} // {right}"), entry.spot)
        if root and any("rslora" in name.replace("_", "") for name, _ in entry.guards):
            inner = _under_root(node.right)
            if inner is not None:
                yield from sheet.replaced("root of rsLoRA lost", node.right, sheet.text(inner), entry.spot)
        axis = _axis(node.right)
        if axis is not None:
            other = str(1 - axis.value)  # type: ignore[operator]
            yield from sheet.replaced("another extent for the rank", axis, other, entry.spot)


def _is_only_told(node: ast.AST, sheet: Sheet) -> bool:
    """Is the ratio only compared with something, or written into a text?"""
    told = (ast.Compare, ast.JoinedStr, ast.Assert)
    return any(isinstance(item, told) for item in sheet.around(node))


def _divides(entry: Quotient) -> bool | None:
    """Is an alpha divided by the root of a rank; None: it is no such ratio."""
    above, below = _roles(entry.value), _roles(entry.by)
    if {ALPHA: 1} not in above:
        return None
    if {RANK: Fraction(1, 2)} in below:
        return True
    return False if {RANK: 1} in below else None


def _roles(value: Value) -> list[dict[str, Fraction]]:
    return [_of_one(option.value) for option in options(value)]


def _of_one(value: Value) -> dict[str, Fraction]:
    if isinstance(value, Place):
        return {value.role or "": Fraction(1)}
    return _powers(value.scale) if isinstance(value, Number | Tensor) else {}


def _under_root(node: ast.expr) -> ast.expr | None:
    match node:
        case ast.Call(args=[inner]):
            return inner
        case ast.BinOp(left=inner, op=ast.Pow()):
            return inner
        case _:
            return None


def _axis(node: ast.expr) -> ast.Constant | None:
    """The number of the axis in ``factor.shape[0]`` or ``factor.size(0)``."""
    match node:
        case ast.Subscript(value=ast.Attribute(attr="shape"), slice=ast.Constant(value=0 | 1) as axis):
            return axis
        case ast.Call(func=ast.Attribute(attr="size"), args=[ast.Constant(value=0 | 1) as axis]):
            return axis
        case _:
            return None
