"""Scales of the first of several adapters or modules, met by all of them in a loop."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.ledger.entries import Apply, Bind, Fold
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import scale_of, trained
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.results import loops_around, statement_of
from lorascale_lint.provenance.values import options


@immutable(frozen=True, slots=True, eq=False)
class OfTheFirst:
    """``name`` is ``bound`` to the scale of one of ``several``, and multiplies each of them at ``used``."""

    name: str
    several: str
    bound: Spot
    used: Spot


def of_the_first(ledger: Ledger) -> Iterator[OfTheFirst]:
    """One for each name that is bound before the loop over the same things."""
    chosen = [(bind, several) for bind in ledger.binds if (several := _one_of(bind))]
    seen: set[ast.AST] = set()
    uses: list[Apply | Fold] = [*ledger.applies, *ledger.folds]
    for used in uses if chosen else ():
        function = used.spot.function
        if function is None or used.spot.chain or used.spot.file.is_test or not trained(used.scale):
            continue  # each one's alpha over that of the first: brought to one level
        numbers = [part for s in used.steps if s.number is not None for part in ast.walk(s.number)]
        names = {part.id for part in numbers if isinstance(part, ast.Name)}
        for bind, several in chosen:
            if bind.spot.function is not function or bind.name not in names or bind.spot.node in seen:
                continue
            loops = loops_around(function, used.spot.node)
            over = [loop for loop in loops if _walks(loop.iter, several)]
            if over and over[0] not in loops_around(function, bind.spot.node):
                seen.add(bind.spot.node)
                yield OfTheFirst(bind.name, several, bind.spot, used.spot)


def _one_of(bind: Bind) -> str:
    """Of what a trained scale is taken from one element by its place, or by the first name: ``names`` of
    ``scaling[names[0]]``; empty if it is not.
    """
    scales = [scale_of(option.value) for option in options(bind.value)]
    if bind.spot.function is None or bind.spot.chain or not any(s is not None and trained(s) for s in scales):
        return ""
    statement = statement_of(bind.spot.function, bind.spot.node)
    value = getattr(statement, "value", None)
    for node in ast.walk(value) if isinstance(value, ast.expr) else ():
        match node:
            case ast.Subscript(value=several, slice=ast.Constant(value=int()) | ast.UnaryOp(op=ast.USub())):
                return ast.unparse(several)
            case ast.Call(
                func=ast.Name(id="next"), args=[ast.Call(func=ast.Name(id="iter"), args=[several]), *_]
            ):
                return _bare(several)
            case _:
                pass
    return ""


def _walks(over: ast.expr, several: str) -> bool:
    """Does a loop go over these things, alone or beside others?"""
    parts = over.args if isinstance(over, ast.Call) and isinstance(over.func, ast.Name) else [over]
    return any(_bare(part) == several for part in parts)


def _bare(node: ast.expr) -> str:
    """``things`` of ``things.items()``."""
    match node:
        case ast.Call(func=ast.Attribute(value=inner, attr="items" | "keys" | "values"), args=[]):
            return ast.unparse(inner)
        case _:
            return ast.unparse(node)
