"""Where a function multiplies both factors, and whether anything around it can be their scale.

The evaluator follows values; this is the coarser question that shows an *absence*: factors are told
by their names, also those that a tuple was unpacked to, and every name on the way of the product, into
the functions called, is asked whether it could carry a scale.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Const,
    Event,
    Global,
    Item,
    Op,
    Param,
    Sequence,
    Term,
    children,
    source_text,
    walk,
)
from lorascale_lint.model.call_values import is_undecorated
from lorascale_lint.model.evaluate import Evaluator
from lorascale_lint.model.key_pattern import key_pattern
from lorascale_lint.model.paired_keys import paired_sides
from lorascale_lint.model.project import Class, Function, constructor
from lorascale_lint.model.scale import ONE
from lorascale_lint.model.values import Delta, Factor, Through
from lorascale_lint.model.vocabulary import factor_side, key_side

SCALE_WORD = re.compile(
    r"(?i)alpha|scal(?!e_grad_by_freq)|strength|multipl|gamma|magnitude|coef|(?<![a-z])(ratio|gain|gate)"
)
"""A name that may carry a scale, whatever it is called for."""

_PRODUCTS = frozenset(
    "mm matmul bmm dot linear conv1d conv2d conv3d kron einsum multi_dot chain_matmul addmm addmm_ baddbmm "
    "baddbmm_ addbmm embedding tensordot dot_general conv_general_dilated mv addmv".split()
)
_NO_TENSOR = frozenset("shape dtype device size keys ndim weight_dtype requires_grad numel dim".split())
_LOGS = re.compile(r"(?i)print|warn|warning|info|debug|log|pprint|echo")
CALL_DEPTH = 3


@dataclass(frozen=True, slots=True, eq=False)
class FactorProduct:
    """``term`` multiplies factor A and factor B (and perhaps an activation) in ``event``."""

    function: Function
    event: Event
    term: Term


@dataclass
class FactorProducts:
    """Finds products and names that may scale them; one per model."""

    evaluator: Evaluator
    _found: dict[Function, tuple[FactorProduct, ...]] = field(default_factory=dict)
    _scaled: dict[tuple[Function, int], bool] = field(default_factory=dict)

    def of(self, function: Function) -> tuple[FactorProduct, ...]:
        """Products of both factors in ``function``, each once, outermost last."""
        if function not in self._found:
            self._found[function] = tuple(self._products(function))
        return self._found[function]

    def _products(self, function: Function) -> Iterator[FactorProduct]:
        sides = _Sides(self.evaluator, function)
        if not ({"A", "B"} <= sides.mentioned):
            return
        seen: set[int] = set()
        for event in effects(function):
            for term in walk(event.value):
                if id(term) not in seen:
                    seen.add(id(term))
                    if sides.meet(term):
                        yield FactorProduct(function, event, term)

    def is_folded(self, product: FactorProduct) -> bool:
        """May a factor of the product have been scaled before it came here?"""
        frame = self.evaluator.frame(product.function)
        return any(
            isinstance(a.value, Factor | Delta | Through) and a.value.scale != ONE
            for part in walk(product.term)
            if isinstance(part, Attr | Param | Item | Call)
            for a in self.evaluator.values(part, frame)
        )

    def may_be_scaled(self, function: Function, *, apart_from: Term | None = None) -> bool:
        """Can anything that ``function`` computes, apart from one dead term, hold a scale?"""
        if not is_undecorated(function):
            return True  # the decorator may scale what the body returns
        excluded = frozenset([id(apart_from)]) if apart_from is not None else frozenset[int]()
        return any(
            self._holds_scale(root, function, excluded, CALL_DEPTH)
            for event in effects(function)
            for root in ((event.value,) if event.target is None else (event.value, event.target))
        )

    def _holds_scale(self, root: Term, function: Function, excluded: frozenset[int], depth: int) -> bool:
        pending, seen = [root], set(excluded)
        while pending:
            term = pending.pop()
            if id(term) in seen:
                continue
            seen.add(id(term))
            match term:
                case Attr(name=name) | Param(name=name) | Global(name=name) if SCALE_WORD.search(name):
                    return True
                case Item(key=Const(value=str(key))) if SCALE_WORD.search(key):
                    return True
                case Item(base=Call() as call, key=Const(value=int(index))):
                    part = self._returned_part_scaled(call, index, function, depth)
                    if part is True:
                        return True
                    if part is False:
                        pending.extend(children(call))
                        continue
                case Call():
                    if self._callee_scales(term, function, depth):
                        return True
                case _:
                    pass
            pending.extend(children(term))
        return False

    def _returned_part_scaled(
        self, call: Call, index: int, function: Function, depth: int, names: int = 4
    ) -> bool | None:
        """Does element ``index`` of what ``call`` returns hold a scale? None if it is not seen."""
        callees = self._callees(call, function)
        if not callees or not depth:
            return None
        for callee in callees:
            for event in callee.events("return"):
                value = event.value
                if isinstance(value, Sequence) and index < len(value.items):
                    if self._holds_scale(value.items[index], callee, frozenset(), depth - 1):
                        return True
                elif isinstance(value, Call) and names:
                    inner = self._returned_part_scaled(value, index, callee, depth - 1, names - 1)
                    if inner is not False:
                        return inner
                else:
                    return None
        return False

    def _callee_scales(self, call: Call, function: Function, depth: int) -> bool:
        if not depth:
            return False
        for callee in self._callees(call, function):
            key = (callee, depth)
            if key not in self._scaled:
                self._scaled[key] = False  # recursion adds nothing
                self._scaled[key] = any(
                    self._holds_scale(event.value, callee, frozenset(), depth - 1)
                    for event in effects(callee)
                )
            if self._scaled[key]:
                return True
        return False

    def _callees(self, call: Call, function: Function) -> list[Function]:
        found = self.evaluator.project.callees(call.func, function, function.owner)
        return [item for item in (constructor(self.evaluator.project, f) for f in found) if item is not None]


def effects(function: Function) -> Iterator[Event]:
    """What a function returns, yields, writes and calls for its effect, logs aside."""
    kept = tuple(function.events("return", "yield", "write", "bind", "call"))
    consumed: set[int] = set()
    for event in kept:
        roots = (event.value,) if event.target is None else (event.value, event.target)
        parts = list(_inner_terms(roots, consumed))
        own = event.value if event.kind in ("bind", "call") else None
        consumed.update(id(part) for part in parts if part is not own)
    for event in kept:
        if event.kind == "call" and (id(event.value) in consumed or is_log(event.value)):
            continue
        if event.kind != "bind":
            yield event


def is_log(term: Term) -> bool:
    """Is ``term`` a call that only tells a person something?"""
    func = term.func if isinstance(term, Call) else None
    return isinstance(func, Attr | Global) and _LOGS.fullmatch(func.name) is not None


def _inner_terms(roots: tuple[Term, ...], known: set[int]) -> Iterator[Term]:
    """Sub-terms of ``roots`` that are not below a known one."""
    pending = list(roots)
    seen: set[int] = set()
    while pending:
        term = pending.pop()
        if id(term) not in seen:
            seen.add(id(term))
            yield term
            if id(term) not in known:
                pending.extend(children(term))


class _Sides:
    """Which factors the terms of one function hold."""

    def __init__(self, evaluator: Evaluator, function: Function) -> None:
        self.context = evaluator.in_lora_context(function)
        self.named: dict[int, str] = {}
        self.known: dict[int, frozenset[str]] = {}
        for event in function.events("bind"):
            side = factor_side(event.name, self.context)
            if side is not None:
                self.named[id(event.value)] = side
        self.paired = paired_sides(function)
        words = {side for word in function.facts.words if (side := _word_side(word, self.context))}
        self.mentioned = words

    def of(self, term: Term) -> frozenset[str]:
        """The sides of all factors in ``term``."""
        known = self.known.get(id(term))
        if known is None:
            known = self._find(term)
            self.known[id(term)] = known
        return known

    def _find(self, term: Term) -> frozenset[str]:
        if id(term) in self.named:
            return frozenset([self.named[id(term)]])
        match term:
            case Attr(name=name) if name in _NO_TENSOR:
                return frozenset()
            case Attr(name=name) | Param(name=name) | Global(name=name):
                side = factor_side(name, self.context)
                if side is not None:
                    return frozenset([side])
            case Item(key=key):
                side = key_side(key_pattern(key)) or self.paired.get(term.loc)
                if side is not None:
                    return frozenset([side])
            case Call(func=Attr(name=name)) if name in _NO_TENSOR:
                return frozenset()
            case _:
                pass
        return frozenset(side for child in children(term) for side in self.of(child))

    def meet(self, term: Term) -> bool:
        """Does ``term`` itself bring both factors together?"""
        match term:
            case Op(sign="@", left=left, right=right):
                return self._differ((left, right))
            case Call(func=func, args=args):
                name = func.name if isinstance(func, Attr | Global) else ""
                operands = (func.base, *args) if isinstance(func, Attr) else args
                if name in _PRODUCTS:
                    return self._differ(operands)
                own = self.of(func)
                inside = frozenset(side for argument in args for side in self.of(argument))
                if len(own) == 1 and inside and own != inside:  # lora_B(lora_A(x))
                    return True
                inner = args[0] if args else None  # op(op(x, down), up)
                return (
                    isinstance(inner, Call)
                    and source_text(inner.func) == source_text(func)
                    and self._differ(args)
                )
            case _:
                return False

    def _differ(self, operands: tuple[Term, ...]) -> bool:
        sides = [found for found in map(self.of, operands) if found]
        return len(sides) >= 2 and len(frozenset[str]().union(*sides)) == 2


def _word_side(word: str, context: bool) -> str | None:
    plain = word.strip("\"'")
    return factor_side(plain, context) or key_side(plain)


def unscaled_products(
    products: FactorProducts, methods: Iterator[Function]
) -> tuple[FactorProduct, ...] | None:
    """Products in ``methods``; None if one of the methods that make them may scale it."""
    found: list[FactorProduct] = []
    for method in methods:
        made = products.of(method)
        if made and products.may_be_scaled(method):
            return None
        found.extend(made)
    return tuple(found)


def relatives(evaluator: Evaluator, cls: Class) -> tuple[Class, ...]:
    """Classes whose methods an object of ``cls``, or of a subclass of it, may have."""
    project = evaluator.project
    return tuple(
        dict.fromkeys(
            ancestor
            for member in project.family(cls)
            if cls in project.ancestors(member)
            for ancestor in project.ancestors(member)
        )
    )
