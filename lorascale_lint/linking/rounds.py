"""What one round of a loop leaves to the next: local names that its body reads before it surely sets them."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import lru_cache

Loop = ast.For | ast.AsyncFor | ast.While
Known = frozenset[str] | None
"""Names that are surely set; None where control does not come."""


@lru_cache(maxsize=4_000)
def left_to_next_round(loop: Loop) -> frozenset[str]:
    """Names that the body sets, and reads where it may not have set them in this round."""
    own = frozenset() if isinstance(loop, ast.While) else _stored(loop.target)
    read: set[str] = set()
    _block(loop.body, own, read)
    stored = frozenset(name for statement in loop.body for name in _stored(statement))
    return (stored & read) - own


def _block(body: Iterable[ast.stmt], known: Known, read: set[str]) -> Known:
    """The names that are set behind ``body``; what is read of others is put into ``read``."""
    for node in body:
        if known is None:
            break
        known = _statement(node, known, read)
    return known


def _statement(node: ast.stmt, known: frozenset[str], read: set[str]) -> Known:
    match node:
        case ast.If(test=test, body=one, orelse=other):
            _note(test, known, read)
            return _both(_block(one, known, read), _block(other, known, read))
        case ast.For() | ast.AsyncFor():
            _note(node.iter, known, read)
            _block(node.body, known | _stored(node.target), read)
            return _block(node.orelse, known, read)
        case ast.While(test=test, body=inner):
            _note(test, known, read)
            _block(inner, known, read)
            return known
        case ast.Try() | ast.TryStar():
            after = _block([*node.body, *node.orelse], known, read)
            for handler in node.handlers:
                after = _both(after, _block(handler.body, known, read))
            return _block(node.finalbody, after, read)
        case ast.With() | ast.AsyncWith():
            for item in node.items:
                _note(item.context_expr, known, read)
            return _block(node.body, known, read)
        case ast.Continue() | ast.Break() | ast.Return() | ast.Raise():
            _note(node, known, read)
            return None
        case ast.AugAssign(target=ast.Name(id=name)) if name not in known:
            read.add(name)
    _note(node, known, read)
    return known | _stored(node)


def _both(one: Known, two: Known) -> Known:
    return two if one is None else one if two is None else one & two


def _note(node: ast.AST, known: frozenset[str], read: set[str]) -> None:
    names = (item for item in ast.walk(node) if isinstance(item, ast.Name) and isinstance(item.ctx, ast.Load))
    read.update(item.id for item in names if item.id not in known)


def _stored(node: ast.AST) -> frozenset[str]:
    names = (item for item in ast.walk(node) if isinstance(item, ast.Name))
    return frozenset(item.id for item in names if isinstance(item.ctx, ast.Store))
