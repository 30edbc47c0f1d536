"""Map the key of an alpha with its suffix, as the keys of the factors are mapped."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst

from lorascale_lint.facts.terms import Attr, Call, Const, Op, Term, Text
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrite, Rewrites
from lorascale_lint.model import Model
from lorascale_lint.model.project import Function


@repair
def map_whole_key(model: Model, function: Function, strip: Call, keys: Sequence[Term]) -> Fix | None:
    """``mapped(key.replace(".alpha", "")) + ".alpha"`` becomes ``mapped(key)``.

    ``keys`` are the sums that put the suffix back. Safe: alpha is found where it was not, and an alpha that
    equals the rank gives the scale of a missing one.
    """
    if not isinstance(strip.func, Attr) or not isinstance(strip.args[0], Const):
        return None
    suffix = strip.args[0].value
    rewrites = Rewrites(model.read_source)
    rewrite = rewrites.of(function.filename)
    if rewrite.find(strip.loc, cst.Call) is None:
        return None
    for key in keys:
        if not _drop_suffix(rewrite, key, suffix):
            return None
    if not _inline(rewrite, strip):
        rewrite.change(strip.loc, cst.Call, _receiver)
    return rewrites.fix("safe", "Map the whole key")


def _drop_suffix(rewrite: Rewrite, key: Term, suffix: object) -> bool:
    match key:
        case Op(sign="+", right=Const(value=text)) if text == suffix:
            if rewrite.find(key.loc, cst.BinaryOperation) is None:
                return False
            rewrite.change(key.loc, cst.BinaryOperation, _left)
            return True
        case Text(parts=(_, Const(value=text))) if text == suffix:
            if rewrite.find(key.loc, cst.FormattedString) is None:
                return False
            rewrite.change(key.loc, cst.FormattedString, _interpolated)
            return True
        case _:
            return False


def _inline(rewrite: Rewrite, strip: Call) -> bool:
    """Drop ``x = key.replace(...)`` if only the next statement, which binds ``x`` anew, reads it."""
    found = rewrite.enclosing(strip.loc, cst.SimpleStatementLine)
    holder = rewrite.enclosing(strip.loc, cst.IndentedBlock)
    if found is None or holder is None:
        return False
    line = cst.ensure_type(found[0], cst.SimpleStatementLine)
    body = list(cst.ensure_type(holder[0], cst.IndentedBlock).body)
    if line not in body or len(line.body) != 1 or line.trailing_whitespace.comment is not None:
        return False
    index = body.index(line)
    name = _only_target(line)
    after = body[index + 1] if index + 1 < len(body) else None
    call = rewrite.find(strip.loc, cst.Call)
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
