"""Names that a function uses as one number: what is compared with numbers is no matrix."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Sequence

from lorascale_lint.knowledge.roles import NUMBERS, role_of

_NUMBERS = frozenset({"float", "abs", "round"})


def numbers_by_use(nodes: Sequence[ast.AST], names: frozenset[str]) -> frozenset[str]:
    """Those of ``names`` that are never used as anything but a number, and once as nothing but one."""
    if not names:
        return frozenset()
    reads = Counter(
        node.id
        for node in nodes
        if isinstance(node, ast.Name) and node.id in names and isinstance(node.ctx, ast.Load)
    )
    sure: Counter[str] = Counter()
    open_: Counter[str] = Counter()
    for node in nodes if reads else ():
        for part, shows in _parts(node):
            if isinstance(part, ast.Name) and part.id in reads:
                (sure if shows else open_)[part.id] += 1
    return frozenset(
        name for name, count in reads.items() if sure[name] and sure[name] + open_[name] == count
    )


def _parts(node: ast.AST) -> Iterator[tuple[ast.AST, bool]]:
    """What stands where a number can, and whether nothing else can stand there."""
    match node:
        case ast.Compare(left=left, comparators=[right]):
            for part, other in ((left, right), (right, left)):
                yield part, _is_literal(other)
        case ast.BoolOp(op=ast.Or(), values=[part, other]):
            yield part, _is_literal(other)
        case ast.IfExp(body=body, orelse=orelse):
            yield body, _is_literal(orelse)
            yield orelse, _is_literal(body)
        case ast.Assign(value=part) | ast.AnnAssign(value=ast.Name() as part):
            yield part, False
        case ast.UnaryOp(op=ast.USub(), operand=part):
            yield part, False
        case ast.BinOp(op=ast.Sub(), left=left, right=right):
            if _is_literal(left):
                yield right, True
        case ast.BinOp(op=ast.Mult(), left=left, right=right):
            for part, other in ((left, right), (right, left)):
                yield part, _is_number(other)
        case ast.Call(func=called, args=args, keywords=keywords):
            plain = isinstance(called, ast.Name) and called.id in _NUMBERS
            for part in args:
                yield part, plain
            for keyword in keywords:
                yield keyword.value, keyword.arg == "alpha" and isinstance(called, ast.Attribute)
        case ast.FormattedValue(value=part):
            yield part, False


def _is_literal(node: ast.AST) -> bool:
    if isinstance(node, ast.UnaryOp):
        node = node.operand
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


def _is_number(node: ast.AST) -> bool:
    """Is it a number over a number, or called as numbers of LoRA are? A matrix meets products of matrices."""
    match node:
        case ast.BinOp(op=ast.Div() | ast.Mult(), left=left):
            return _is_number(left) or (
                isinstance(node.op, ast.Div) and isinstance(left, ast.Name | ast.Attribute | ast.Subscript)
            )
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return role_of(name, True) in NUMBERS
        case _:
            return _is_literal(node)
