"""Ways to add a parameter, an argument, a statement or a method in the style of the code around it."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

import libcst as cst

from lorascale_lint.fixing.rewriting import Rewrite
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.sources.loc import Loc

_MATH = re.compile(r"(?m)^import math$")
_TORCH = re.compile(r"(?m)^\s*(import torch|from torch)\b")


def function_at(rewrite: Rewrite, name_loc: Loc) -> tuple[cst.FunctionDef, Loc] | None:
    """The function whose name stands at ``name_loc``."""
    found = rewrite.enclosing(name_loc, cst.FunctionDef)
    return None if found is None else (cst.ensure_type(found[0], cst.FunctionDef), found[1])


def definition(rewrite: Rewrite, function: FunctionInfo) -> tuple[cst.FunctionDef, Loc] | None:
    """The definition of a function of the ledger."""
    node = function.node
    start = Loc(node.lineno, node.col_offset + 1, node.lineno, node.col_offset + 1)
    return None if isinstance(node, ast.Lambda) else function_at(rewrite, start)


def append_parameter(function: cst.FunctionDef, name: str, annotation: str, default: str) -> cst.FunctionDef:
    """``function`` with one more parameter that every old call can leave out, if it has not got that."""
    params = function.params
    known = (*params.posonly_params, *params.params, *params.kwonly_params)
    if any(param.name.value == name for param in known):
        return function
    param = cst.Param(
        name=cst.Name(name),
        annotation=cst.Annotation(cst.parse_expression(annotation)) if annotation else None,
        default=cst.parse_expression(default),
        equal=cst.AssignEqual()
        if annotation
        else cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace("")),
    )
    keyword_only = bool(params.kwonly_params) or not isinstance(params.star_arg, cst.MaybeSentinel)
    existing = params.kwonly_params if keyword_only else params.params
    extended = _appended(existing, param)
    changed = params.with_changes(**{"kwonly_params" if keyword_only else "params": extended})
    return function.with_changes(params=changed)


def append_argument(call: cst.Call, name: str, value: str) -> cst.Call:
    """``call`` with a keyword argument more, or in the place of what it is given under that name."""
    for given in call.args:
        if given.keyword is not None and given.keyword.value == name:
            return cst.ensure_type(call.with_deep_changes(given, value=cst.parse_expression(value)), cst.Call)
    argument = cst.Arg(
        keyword=cst.Name(name),
        value=cst.parse_expression(value),
        equal=cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace("")),
    )
    return call.with_changes(args=_appended(call.args, argument))


def _appended(items: Sequence[cst.Param] | Sequence[cst.Arg], new: cst.Param | cst.Arg) -> list[cst.CSTNode]:
    """``items`` and ``new``; the comma before ``new`` is laid out like the one before the last item."""
    if not items:
        return [new]
    *head, last = items
    between = _bare(head[-1].comma) if head else cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
    return [*head, last.with_changes(comma=between), new.with_changes(comma=last.comma)]


def _bare(comma: cst.Comma | cst.MaybeSentinel) -> cst.Comma | cst.MaybeSentinel:
    """The layout of a comma without the comments of the line that it ends."""
    after = comma.whitespace_after if isinstance(comma, cst.Comma) else None
    if not isinstance(comma, cst.Comma) or not isinstance(after, cst.ParenthesizedWhitespace):
        return comma
    plain = after.with_changes(
        first_line=after.first_line.with_changes(comment=None, whitespace=cst.SimpleWhitespace("")),
        empty_lines=[line for line in after.empty_lines if line.comment is None],
    )
    return comma.with_changes(whitespace_after=plain)


def new_statement(
    source: str, config: cst.PartialParserConfig
) -> cst.SimpleStatementLine | cst.BaseCompoundStatement:
    """A statement in the indentation of the file; that of ``source`` is four spaces."""
    indent = config.default_indent if isinstance(config.default_indent, str) else "    "
    text = re.sub(r"(?m)^( {4})+", lambda spaces: indent * (len(spaces[0]) // 4), source)
    return cst.parse_statement(text, config=config)


def statement_index(rewrite: Rewrite, body: cst.BaseSuite, loc: Loc) -> int | None:
    """Index of the statement of ``body`` that spans ``loc``, if it is a simple one."""
    for index, statement in enumerate(body.body):
        place = rewrite.positions[statement]
        if place.row <= loc.row <= place.end_row:
            return index if isinstance(statement, cst.SimpleStatementLine) else None
    return None


def insert_statements(
    holder: cst.CSTNode, index: int, statements: Sequence[str], config: cst.PartialParserConfig
) -> cst.CSTNode:
    """``holder`` (a function, loop, branch ...) with statements added to its body before ``index``."""
    body = getattr(holder, "body")  # noqa: B009 - a field of every compound statement
    parsed = [new_statement(text, config) for text in statements]
    return holder.with_changes(body=body.with_changes(body=[*body.body[:index], *parsed, *body.body[index:]]))


def insert_method(
    cls: cst.ClassDef, after: str, source: str, config: cst.PartialParserConfig
) -> cst.ClassDef:
    """``cls`` with a method added behind the method ``after`` (at the end without such a method)."""
    method = cst.ensure_type(new_statement(source, config), cst.FunctionDef)
    method = method.with_changes(leading_lines=[cst.EmptyLine(indent=False)])
    body = list(cls.body.body)
    index = next(
        (
            i + 1
            for i, item in enumerate(body)
            if isinstance(item, cst.FunctionDef) and item.name.value == after
        ),
        len(body),
    )
    return cls.with_changes(body=cls.body.with_changes(body=[*body[:index], method, *body[index:]]))


def is_annotated(function: cst.FunctionDef) -> bool:
    """Does the function carry type hints, so that new code should too?"""
    params = (*function.params.params, *function.params.kwonly_params)
    return function.returns is not None or any(param.annotation is not None for param in params)


def parenthesized(node: cst.BaseExpression) -> cst.BaseExpression:
    """``node`` in parentheses, unless it is already or never needs them."""
    if node.lpar or isinstance(node, cst.Name | cst.Attribute | cst.Call | cst.Subscript):
        return node
    return node.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])


def binds_as_tight(node: cst.BaseExpression) -> bool:
    """Is ``node`` a product or quotient, which needs no parentheses as the left side of another?"""
    return isinstance(node, cst.BinaryOperation) and isinstance(
        node.operator, cst.Multiply | cst.MatrixMultiply | cst.Divide
    )


def times(operand: cst.BaseExpression, scalar: str) -> cst.BinaryOperation:
    """``operand * scalar``, with parentheses around the operand where it needs them."""
    left = operand if binds_as_tight(operand) else parenthesized(operand)
    return cst.BinaryOperation(left=left, operator=cst.Multiply(), right=cst.parse_expression(scalar))


def is_lone(rewrite: Rewrite, node: cst.BaseExpression) -> bool:
    """Does ``node`` stand where no operator touches it: on a right-hand side, as an argument?"""
    holders = cst.Assign | cst.AnnAssign | cst.AugAssign | cst.Return | cst.Arg | cst.Expr
    around = rewrite.tree.parent(node)
    return isinstance(around, holders) and around.value is node


def multiplied(rewrite: Rewrite, node: cst.BaseExpression, scalar: str) -> cst.BinaryOperation:
    """``node * scalar``, in the parentheses that the place of ``node`` needs."""
    spread = bool(node.lpar) and "\n" in rewrite.code(node)
    if binds_as_tight(node) and spread and is_lone(rewrite, node):
        # Parentheses that hold a line together go around the whole product.
        bare = node.with_changes(lpar=[], rpar=[])
        return times(bare, scalar).with_changes(lpar=node.lpar, rpar=node.rpar)
    return times(node, scalar)


def reads_of(rewrite: Rewrite, name: str, around: Loc) -> list[cst.Name]:
    """Where the local ``name`` stands in the rows of ``around``, not as the name of an attribute."""
    found = [
        node
        for node, place in rewrite.tree.nodes(cst.Name)
        if node.value == name and around.row <= place.row <= around.end_row
    ]
    return [
        node
        for node in found
        if not isinstance(parent := rewrite.tree.parent(node), cst.Attribute) or parent.attr is not node
    ]


def root_of(rewrite: Rewrite, number: str) -> str:
    """Source of the square root of ``number``, by what the file imports."""
    return f"math.sqrt({number})" if _MATH.search(rewrite.text) else f"{number} ** 0.5"


def imports_torch(rewrite: Rewrite) -> bool:
    """Does the file import anything of torch, so that its tensors are torch's?"""
    return _TORCH.search(rewrite.text) is not None
