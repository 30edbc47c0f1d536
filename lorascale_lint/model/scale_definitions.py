"""Where LoRA code says what its scale is: stored in an attribute, returned by a getter, given as an argument.

The evaluator asks what reaches a delta. Here the question is what a name such as ``scaling`` is *set* to,
which can be wrong by itself: ``rank / alpha``, or alpha as it came.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from weakref import WeakKeyDictionary

from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Choice,
    Const,
    Event,
    Global,
    Item,
    Loc,
    Mapping,
    Negative,
    Op,
    Param,
    Term,
    each_term,
    walk,
)
from lorascale_lint.model.model import Model
from lorascale_lint.model.multiplications import WRAPPERS
from lorascale_lint.model.project import (
    Class,
    Function,
    bound_arguments,
    constructor,
    is_receiver,
    is_test_file,
)
from lorascale_lint.model.scale import ALPHA, RANK
from lorascale_lint.model.values import Delta, Factor, Number, Through
from lorascale_lint.model.vocabulary import factor_side

SCALE_NAME = re.compile(r"(?i)_?(get_|compute_|calc_)?(lora_|adapter_|alpha_)*(scale|scaling)s?(_factors?)?")
"""A name for alpha / rank itself; ``inv_scale`` and the scales of quantisation have other words in them."""

_MULTIPLIES = frozenset("mul mul_ multiply multiply_".split())
_ADDS = frozenset("add add_ sub sub_ addmm addmm_ baddbmm baddbmm_ addbmm".split())
_NORMS = frozenset("norm vector_norm matrix_norm get_weight_norm".split())
_CONVERTS = WRAPPERS | {"float", "int", "item", "to", "scalar_tensor", "full", "detach"}


@dataclass(frozen=True, slots=True, eq=False)
class ScaleDefinition:
    """``function`` sets the scale called ``name`` to ``value``; no name where it is multiplied on at once."""

    function: Function
    event: Event
    name: str
    value: Term
    loc: Loc

    @property
    def leaves(self) -> tuple[Term, ...]:
        """What the value may be, without conversions around it."""
        found: list[Term] = []
        pending = [self.value]
        while pending:
            term = pending.pop()
            match term:
                case Choice(then=then, other=other):
                    pending += [other, then]
                case Negative(operand=operand):
                    pending.append(operand)
                case Call(func=Attr(name=name) | Global(name=name), args=args) if name in _CONVERTS:
                    inner = args[0] if args else term.func.base if isinstance(term.func, Attr) else None
                    if inner is not None:
                        pending.append(inner)
                case _:
                    found.append(term)
        return tuple(found)

    @property
    def quotients(self) -> tuple[Term, ...]:
        """The leaves, and what products and roots in them are made of."""
        found: list[Term] = []
        pending = list(reversed(self.leaves))
        while pending:
            term = pending.pop()
            match term:
                case Op(sign="*", left=left, right=right):
                    pending += [right, left]
                case Op(sign="**", left=left, right=Const(value=0.5)):
                    pending.append(left)
                case Call(func=Attr(name="sqrt") | Global(name="sqrt"), args=(inner,)):
                    pending.append(inner)
                case _:
                    found.append(term)
        return tuple(found)


_KNOWN: WeakKeyDictionary[Model, tuple[ScaleDefinition, ...]] = WeakKeyDictionary()
"""Three rules ask each model."""


def scale_definitions(model: Model) -> tuple[ScaleDefinition, ...]:
    """Every definition in functions that speak of LoRA, tests apart."""
    known = _KNOWN.get(model)
    if known is None:
        known = _KNOWN[model] = tuple(_definitions(model))
    return known


def _definitions(model: Model) -> Iterator[ScaleDefinition]:
    for function in model.functions:
        if not is_test_file(function.filename):
            yield from _stored(model, function)
            yield from _given(model, function)
            yield from _multiplied(model, function)


def _stored(model: Model, function: Function) -> Iterator[ScaleDefinition]:
    keeps_factors = function.owner is not None and has_factors(model, function.owner)
    getter = SCALE_NAME.fullmatch(function.facts.name) is not None
    for event in function.facts.events:
        target = event.target.base if isinstance(event.target, Item) else event.target
        match event.kind, target, event.value:
            case "write", Attr(base=base, name=name), value if (
                not event.sign
                and keeps_factors
                and is_receiver(base, function)
                and SCALE_NAME.fullmatch(name)
            ):
                yield ScaleDefinition(function, event, name, value, event.loc)
            case "call", _, Call(
                func=Attr(name="register_buffer"), args=(Const(value=str(name)), value, *_)
            ) if keeps_factors and SCALE_NAME.fullmatch(name):
                yield ScaleDefinition(function, event, name, value, value.loc)
            case "return", _, value if getter:
                yield ScaleDefinition(function, event, function.facts.name, value, value.loc)
            case _:
                pass


def _given(model: Model, function: Function) -> Iterator[ScaleDefinition]:
    """Arguments and dictionary entries called scale."""
    for event in function.facts.events:
        if event.kind == "call" and isinstance(event.value, Call):
            for callee in model.project.callees(event.value.func, function, None):
                target = constructor(model.project, callee)
                if target is None or not model.evaluator.in_lora_context(target):
                    continue
                for name, value in bound_arguments(event.value, target).items():
                    if SCALE_NAME.fullmatch(name):
                        yield ScaleDefinition(function, event, name, value, value.loc)
    for event, term in each_term(function.facts.events):
        if isinstance(term, Mapping):
            for key, value in term.pairs:
                if isinstance(key, Const) and SCALE_NAME.fullmatch(str(key.value)):
                    yield ScaleDefinition(function, event, str(key.value), value, value.loc)


def _multiplied(model: Model, function: Function) -> Iterator[ScaleDefinition]:
    """Numbers multiplied onto a delta, an activation between the factors, or a factor."""
    frame = model.evaluator.frame(function)

    def is_tensor(term: Term) -> bool:
        values = model.evaluator.values(term, frame)
        return any(isinstance(a.value, Delta | Through | Factor) for a in values)

    events = list(function.events("write", "bind", "return", "call"))
    for event in events:
        if (
            event.kind == "write"
            and event.sign == "*"
            and event.target is not None
            and is_tensor(event.target)
        ):
            yield ScaleDefinition(function, event, "", event.value, event.value.loc)
    for event, term in each_term(events):
        match term:
            case Op(sign="*", left=left, right=right):
                pairs = [(left, right), (right, left)]
            case Call(func=Attr(base=base, name=name), args=(only,)) if name in _MULTIPLIES:
                pairs = [(base, only)]
            case Call(func=Attr(name=name) | Global(name=name), args=args, keywords=keywords) if (
                name in _ADDS
            ):
                given = dict(keywords).get("alpha")
                pairs = [] if given is None or not args else [(args[-1], given)]
            case _:
                continue
        for tensor, number in pairs:
            if is_tensor(tensor) and not is_tensor(number):
                yield ScaleDefinition(function, event, "", number, number.loc)


def has_factors(model: Model, cls: Class) -> bool:
    """Does the class, or one it derives from, keep both factors?"""
    known = model.keeps_factors.get(cls)
    if known is None:
        line = model.project.ancestors(cls)
        known = model.keeps_factors[cls] = any(_names_factors(model, member) for member in line) or any(
            owner in line or cls in model.project.ancestors(owner) for owner in model.applying_classes
        )
    return known


def _names_factors(model: Model, cls: Class) -> bool:
    """Do the methods of the class itself name both factors as attributes?"""
    terms = (term for method in model.project.methods(cls) for _, term in each_term(method.facts.events))
    names = {term.name for term in terms if isinstance(term, Attr)}
    return {factor_side(name, True) for name in names} >= {"A", "B"}


def rank_over_alpha(model: Model, function: Function, term: Term) -> bool:
    """Is ``term`` a quotient of a rank by an alpha: the trained scale upside down?"""
    if not (isinstance(term, Op) and term.sign == "/"):
        return False
    frame = model.evaluator.frame(function)
    above = [a.value for a in model.evaluator.values(term.left, frame)]
    below = [a.value for a in model.evaluator.values(term.right, frame)]
    powers = {RANK: (Fraction(1), Fraction(1, 2)), ALPHA: (Fraction(1),)}

    def holds(value: object, symbol: str) -> bool:
        if not isinstance(value, Number) or not value.scale.known or value.scale.coefficient != 1:
            return False
        return [name for name, _ in value.scale.powers] == [symbol] and value.scale.power(symbol) in powers[
            symbol
        ]

    return (
        all(holds(value, RANK) for value in above)
        and any(holds(value, ALPHA) for value in below)
        and all(holds(value, ALPHA) or holds(value, RANK) for value in below)
    )


def is_divisor(model: Model, filename: str, name: str, value: Term) -> bool:
    """Does anything in the file divide by the scale called ``name``, or by this very value?"""
    for function in model.project.functions.values():
        if function.filename != filename:
            continue
        for event in function.facts.events:
            if event.kind == "write" and event.sign == "/" and _mentions(event.value, name, value):
                return True
            for term in walk(event.value):
                match term:
                    case Op(sign="/", right=right) if term is not value and _mentions(right, name, value):
                        return True
                    case Call(func=Attr(name=called), args=args) if called.startswith(("div", "true_div")):
                        if any(_mentions(part, name, value) for part in args):
                            return True
                    case _:
                        pass
    return False


def _mentions(root: Term, name: str, value: Term) -> bool:
    """Is ``root`` the scale or a product with it? A norm of scaled weights is neither."""
    pending = [root]
    while pending:
        part = pending.pop()
        if part is value or (bool(name) and isinstance(part, Attr | Param | Global) and part.name == name):
            return True
        match part:
            case Op(sign="*" | "/" | "**", left=left, right=right) | Choice(then=left, other=right):
                pending += [left, right]
            case Call(func=Attr(base=base, name=called), args=args) if called not in _NORMS:
                pending += [base, *args]
            case Call(args=args):
                pending += args if getattr(part.func, "name", "") not in _NORMS else ()
            case Item(base=base) | Attr(base=base) | Negative(operand=base):
                pending.append(base)
            case _:
                pass
    return False
