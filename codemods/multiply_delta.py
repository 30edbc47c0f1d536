"""Multiply deltas by a scalar where they leave the functions that make them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import libcst as cst

from lorascale_lint.codemods.statements import binds_as_tight, is_lone, times
from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Choice,
    Event,
    Global,
    Loc,
    Op,
    Sequence as Items,
    Term,
    walk,
)
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrite, Rewrites
from lorascale_lint.model import Model
from lorascale_lint.model.unscaled_exits import Exit

_ADDING = frozenset("add add_ sub sub_ subtract".split())
_LINEAR = frozenset(
    "to type float half bfloat16 type_as contiguous clone detach view reshape transpose permute t squeeze "
    "unsqueeze flatten embedding linear matmul mm bmm einsum conv1d conv2d conv3d pad sum mean".split()
)


@repair
def multiply_delta(
    model: Model,
    exits: Sequence[Exit],
    applicability: Literal["safe", "unsafe"],
    message: str,
) -> Fix | None:
    """``return base + delta`` becomes ``return base + delta * self.scaling``.

    None if one of the ``exits`` is not understood: a delta that is scaled in one place only would be
    worse than one that never is.
    """
    rewrites = Rewrites(model.read_source)
    return rewrites.fix(applicability, message) if multiply_exits(rewrites, exits) else None


def multiply_exits(rewrites: Rewrites, exits: Sequence[Exit]) -> bool:
    """The change itself; False if nothing may be changed."""
    places: dict[tuple[str, Loc], tuple[cst.BaseExpression, str]] = {}
    for leaving in exits:
        rewrite = rewrites.of(leaving.function.filename)
        way = _Way(rewrite, frozenset(map(id, leaving.deltas)))
        found = way.place(leaving.event) if leaving.call is None else way.argument(leaving.call)
        if found is None:
            return False
        place = rewrite.positions[found]
        if leaving.bound is not None and not _follows(place, leaving.bound):
            return False
        places[leaving.function.filename, place] = found, leaving.scalar
    if any(_nests(first, second) for first in places for second in places if first is not second):
        return False
    for (filename, _), (node, scalar) in places.items():
        rewrite = rewrites.of(filename)
        rewrite.replace(node, multiplied(rewrite, node, scalar))
    return True


def _follows(place: Loc, bound: Loc) -> bool:
    return place.row > bound.end_row


def _nests(outer: tuple[str, Loc], inner: tuple[str, Loc]) -> bool:
    (filename, a), (other, b) = outer, inner
    inside = (a.row, a.column) <= (b.row, b.column) and (b.end_row, b.end_column) <= (a.end_row, a.end_column)
    return filename == other and inside


def multiplied(rewrite: Rewrite, node: cst.BaseExpression, scalar: str) -> cst.BinaryOperation:
    """``node * scalar``, in the parentheses that the place of ``node`` needs."""
    spread = bool(node.lpar) and "\n" in rewrite.code(node)
    if binds_as_tight(node) and spread and is_lone(rewrite, node):
        # Parentheses that hold a line together go around the whole product.
        bare = node.with_changes(lpar=[], rpar=[])
        return times(bare, scalar).with_changes(lpar=node.lpar, rpar=node.rpar)
    return times(node, scalar)


class _Way:
    """Follows a statement's value down to the part of it that is the delta."""

    def __init__(self, rewrite: Rewrite, deltas: frozenset[int]) -> None:
        self.rewrite = rewrite
        self.deltas = deltas

    def place(self, event: Event) -> cst.BaseExpression | None:
        """The expression that is the delta where ``event`` returns it or adds it to a weight."""
        value = event.value
        match event.kind:
            case "return":
                returned = self.rewrite.find(event.loc, cst.Return)
                node = returned.value if isinstance(returned, cst.Return) else None
            case "write" if event.sign in ("+", "-"):
                added = self.rewrite.find(event.loc, cst.AugAssign)
                node = added.value if isinstance(added, cst.AugAssign) else None
            case "write":
                if not self._is_sum(value):
                    return None
                around = self.rewrite.enclosing(event.loc, cst.Assign)
                node = around[0].value if around and isinstance(around[0], cst.Assign) else None
            case "call":
                if not self._is_sum(value):
                    return None
                node = self._own(value)
            case _:
                return None
        return None if node is None else self._descend(node, value)

    def argument(self, call: Call) -> cst.BaseExpression | None:
        """The argument of ``call`` that is the delta."""
        node = self.rewrite.find(call.loc, cst.Call)
        if not isinstance(node, cst.Call) or call.spread:
            return None
        given = [*call.args, *(value for _, value in call.keywords)]
        holding = [index for index, term in enumerate(given) if id(term) in self.deltas]
        return node.args[holding[0]].value if len(holding) == 1 and len(given) == len(node.args) else None

    def _holds(self, term: Term) -> bool:
        return any(id(part) in self.deltas for part in walk(term))

    def _own(self, term: Term) -> cst.BaseExpression | None:
        """The expression that ``term`` was read from, if its place tells it."""
        loc = getattr(term, "loc", None)
        if loc is None:
            return None
        kind = cst.Call if isinstance(term, Call) else cst.BinaryOperation
        node = self.rewrite.find(loc, kind)
        return node if isinstance(node, cst.BaseExpression) else None

    def _is_sum(self, term: Term) -> bool:
        return self._sides(term) is not None

    def _sides(self, term: Term) -> tuple[Term, Term] | None:
        match term:
            case Op(sign="+" | "-", left=left, right=right):
                return left, right
            case Call(func=Attr(base=base, name=name), args=(added,), keywords=()) if name in _ADDING:
                return base, added
            case Call(func=Attr(name=name) | Global(name=name), args=(base, added), keywords=()) if (
                name in _ADDING
            ):
                return base, added
            case _:
                return None

    def _descend(self, node: cst.BaseExpression | None, term: Term) -> cst.BaseExpression | None:
        """``node`` stands for ``term``, perhaps by name only; None is a term whose node is not known."""
        if id(term) in self.deltas:
            return node
        sides = self._sides(term)
        if sides is not None:
            return self._into_sum(term, sides)
        match term:
            case Items(items=items, repeated=False):
                elements = [index for index, item in enumerate(items) if self._holds(item)]
                if not isinstance(node, cst.Tuple | cst.List) or len(elements) != 1:
                    return None
                element = node.elements[elements[0]]
                return self._descend(element.value, items[elements[0]])
            case Choice(then=then, other=other):
                arms = [arm for arm in (then, other) if self._holds(arm)]
                if any(self._sums_below(arm) for arm in arms):
                    return self._descend(None, arms[0]) if len(arms) == 1 else None
                return node if all(map(self._is_linear, arms)) else None
            case Call(func=Attr(base=base, name=name)) if name in _LINEAR and self._sums_below(base):
                return self._descend(None, base)
            case _:
                return node if self._is_linear(term) else None

    def _into_sum(self, term: Term, sides: tuple[Term, Term]) -> cst.BaseExpression | None:
        holding = [index for index, side in enumerate(sides) if self._holds(side)]
        nodes = self._side_nodes(term)
        if len(holding) != 1 or nodes is None:
            return None
        (index,) = holding
        return self._descend(nodes[index], sides[index])

    def _side_nodes(self, term: Term) -> tuple[cst.BaseExpression | None, cst.BaseExpression] | None:
        loc = getattr(term, "loc", None)
        if loc is None:
            return None
        for kind in (cst.BinaryOperation, cst.AugAssign, cst.Call):
            match self.rewrite.find(loc, kind):
                case cst.BinaryOperation(left=left, right=right):
                    return left, right
                case cst.AugAssign(value=value):
                    return None, value  # the old value of the name was bound elsewhere
                case cst.Call(func=cst.Attribute(value=value), args=[argument]):
                    return value, argument.value
                case cst.Call(args=[first, second]):
                    return first.value, second.value
                case _:
                    pass
        return None

    def _sums_below(self, term: Term) -> bool:
        """Is the delta added to something within ``term``?"""
        return any(
            self._sides(part) is not None and self._holds(part)
            for part in walk(term)
            if id(part) not in self.deltas
        )

    def _is_linear(self, term: Term) -> bool:
        """Does twice the delta in ``term`` make twice the value?"""
        if id(term) in self.deltas:
            return True
        match term:
            case Op(sign="*" | "@", left=left, right=right):
                holding = [side for side in (left, right) if self._holds(side)]
                return len(holding) == 1 and self._is_linear(holding[0])
            case Op(sign="/", left=left, right=right):
                return not self._holds(right) and self._is_linear(left)
            case Attr(base=base, name="T" | "mT" | "data"):
                return self._is_linear(base)
            case Choice(then=then, other=other):
                return all(self._is_linear(arm) for arm in (then, other) if self._holds(arm))
            case Call(func=func, args=args, keywords=keywords):
                operands = (*args, *(value for _, value in keywords))
                if isinstance(func, Attr) and self._holds(func.base):
                    operands = (func.base, *operands)
                holding = [operand for operand in operands if self._holds(operand)]
                name = func.name if isinstance(func, Attr | Global) else ""
                known = name in _LINEAR or name.lower().endswith("dropout")
                return known and len(holding) == 1 and self._is_linear(holding[0])
            case _:
                return False
