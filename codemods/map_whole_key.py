"""Map the key of an alpha with its suffix, as the keys of the factors are mapped."""

from __future__ import annotations

import ast
from collections.abc import Sequence

import libcst as cst

from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrite, Rewrites
from lorascale_lint.ledger.alpha_look_ups import Unmapped, key_expression, last_binding
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import loc_of
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.sources.loc import Loc


@repair
def map_whole_key(ledger: Ledger, found: Unmapped) -> Fix | None:
    """``mapped(key.replace(".alpha", "")) + ".alpha"`` becomes ``mapped(key)``.

    Safe where the mapping keeps the suffix of the factors: alpha is found where it was not, and an alpha that
    equals the rank gives the scale of a missing one.
    """
    spot = found.alpha.spot
    function, key = spot.function, key_expression(spot.node)
    if function is None or key is None or not found.keeps_suffixes:
        return None
    joined = _followed(function, key, spot.row)
    suffix = None if joined is None else _suffix(joined)
    mapped = None if joined is None or suffix is None else _followed(function, suffix[0], joined.lineno + 1)
    strip = None if mapped is None or suffix is None else _strip(function, mapped, suffix[1])
    if joined is None or suffix is None or strip is None or _is_shared(function, strip, joined):
        return None
    rewrites = Rewrites(ledger.read_source)
    rewrite = rewrites.of(spot.file.filename)
    place, stripped = loc_of(spot.file, joined), loc_of(spot.file, strip)
    if isinstance(joined, ast.BinOp):
        rewrite.change(place, cst.BinaryOperation, _left)
    else:
        rewrite.change(place, cst.FormattedString, _interpolated)
    if not _inline(rewrite, stripped):
        rewrite.change(stripped, cst.Call, _receiver)
    return rewrites.fix("safe", "Map the whole key")


def _followed(function: FunctionInfo, node: ast.expr, before: int) -> ast.expr | None:
    """What a name is bound to above a row; any other expression itself."""
    return last_binding(function, node.id, before) if isinstance(node, ast.Name) else node


def _suffix(joined: ast.expr) -> tuple[ast.expr, str] | None:
    """The name and the text behind it in ``name + ".alpha"`` and ``f"{name}.alpha"``."""
    match joined:
        case ast.BinOp(left=left, op=ast.Add(), right=ast.Constant(value=str() as text)):
            return left, text
        case ast.JoinedStr(values=[ast.FormattedValue(value=value), ast.Constant(value=str() as text)]):
            return value, text
        case _:
            return None


def _strip(function: FunctionInfo, mapped: ast.expr, suffix: str) -> ast.Call | None:
    """The call that takes the suffix off the argument of the mapping, or of mappings one after another."""
    for _ in range(_MAPPINGS):
        if isinstance(mapped, ast.Subscript):
            mapped = mapped.value
        match mapped:
            case ast.Call(
                func=ast.Attribute(attr="replace" | "removesuffix"), args=[ast.Constant(value=text), *rest]
            ) if text == suffix and all(isinstance(item, ast.Constant) and item.value == "" for item in rest):
                return mapped
            case ast.Call(args=[argument, *_]):
                found = _followed(function, argument, mapped.lineno)
                if found is None:
                    return None
                mapped = found
            case _:
                return None
    return None


_MAPPINGS = 4
"""Mappings that a key may go through, one after another."""


def _is_shared(function: FunctionInfo, strip: ast.Call, joined: ast.expr) -> bool:
    """Is a name that is bound between both expressions read for something else, too?"""
    last = min(
        (
            body[-1].end_lineno or 0
            for node in ast.walk(function.node)
            if isinstance(body := getattr(node, "body", None), list)
            and body[0].lineno <= strip.lineno
            and (body[-1].end_lineno or 0) >= joined.lineno
        ),
        default=0,
    )
    names = [
        node
        for node in ast.walk(function.node)
        if isinstance(node, ast.Name) and strip.lineno <= node.lineno <= last
    ]
    bound = [node for node in names if isinstance(node.ctx, ast.Store) and node.lineno <= joined.lineno]
    read = dict.fromkeys((node.id for node in bound), 0)
    for node in names:
        if node.id in read and isinstance(node.ctx, ast.Load):
            read[node.id] += 1
    return any(count > sum(1 for node in bound if node.id == name) for name, count in read.items())


def _inline(rewrite: Rewrite, strip: Loc) -> bool:
    """Drop ``x = key.replace(...)`` if only the next statement, which binds ``x`` anew, reads it."""
    found = rewrite.enclosing(strip, cst.SimpleStatementLine)
    holder = rewrite.enclosing(strip, cst.IndentedBlock)
    if found is None or holder is None:
        return False
    line = cst.ensure_type(found[0], cst.SimpleStatementLine)
    body = list(cst.ensure_type(holder[0], cst.IndentedBlock).body)
    if line not in body or len(line.body) != 1 or line.trailing_whitespace.comment is not None:
        return False
    index = body.index(line)
    name = _only_target(line)
    after = body[index + 1] if index + 1 < len(body) else None
    call = rewrite.find(strip, cst.Call)
    if name is None or not isinstance(after, cst.SimpleStatementLine) or len(after.body) != 1:
        return False
    assign = line.body[0]
    if not isinstance(assign, cst.Assign) or assign.value is not call or name not in _bound(after):
        return False
    key = rewrite.code(_receiver(cst.ensure_type(call, cst.Call)))
    comments = line.leading_lines
    rewrite.change(found[1], cst.SimpleStatementLine, lambda _: cst.FlattenSentinel([]))
    rewrite.change(
        rewrite.positions[after],
        cst.SimpleStatementLine,
        lambda node: _read_instead(cst.ensure_type(node, cst.SimpleStatementLine), name, key, comments),
    )
    return True


def _only_target(line: cst.SimpleStatementLine) -> str | None:
    match line.body[0]:
        case cst.Assign(targets=[cst.AssignTarget(target=cst.Name(value=name))]):
            return name
        case _:
            return None


def _bound(line: cst.SimpleStatementLine) -> set[str]:
    """Names that an assignment binds, one by one or as a tuple."""
    assign = line.body[0]
    if not isinstance(assign, cst.Assign):
        return set()
    targets = [target.target for target in assign.targets]
    nested = [
        element.value for target in targets if isinstance(target, cst.Tuple) for element in target.elements
    ]
    return {target.value for target in (*targets, *nested) if isinstance(target, cst.Name)}


def _read_instead(
    line: cst.SimpleStatementLine, name: str, key: str, comments: Sequence[cst.EmptyLine]
) -> cst.SimpleStatementLine:
    assign = cst.ensure_type(line.body[0], cst.Assign)
    value = assign.value.visit(_Rename(name, key))
    assert isinstance(value, cst.BaseExpression)
    return line.with_changes(
        leading_lines=[*comments, *line.leading_lines], body=[assign.with_changes(value=value)]
    )


class _Rename(cst.CSTTransformer):
    def __init__(self, name: str, key: str) -> None:
        super().__init__()
        self.name = name
        self.key = key

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.BaseExpression:
        return cst.parse_expression(self.key) if updated_node.value == self.name else updated_node


def _receiver(node: cst.CSTNode) -> cst.BaseExpression:
    call = cst.ensure_type(node, cst.Call)
    return cst.ensure_type(call.func, cst.Attribute).value


def _left(node: cst.CSTNode) -> cst.BaseExpression:
    return cst.ensure_type(node, cst.BinaryOperation).left


def _interpolated(node: cst.CSTNode) -> cst.BaseExpression:
    first = cst.ensure_type(node, cst.FormattedString).parts[0]
    return cst.ensure_type(first, cst.FormattedStringExpression).expression
