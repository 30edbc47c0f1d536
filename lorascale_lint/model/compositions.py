"""Methods that compose a given delta with a weight at the trained scale, and deltas that go past them.

Some classes keep the product and the scale apart: ``delta`` is the bare product, and ``merge(weight,
delta)`` multiplies by the scaling that the class stores. A delta that reaches a sum another way, or is
handed to such a method with a literal 1 for the scale, has no scale.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Choice,
    Const,
    Event,
    Guard,
    Loc,
    Logic,
    Op,
    Param,
    Sequence,
    Term,
    each_term,
    source_text,
    walk,
)
from lorascale_lint.model.call_values import is_undecorated
from lorascale_lint.model.model import Model
from lorascale_lint.model.project import Class, Function, bound_arguments, is_receiver, is_test_file
from lorascale_lint.model.scale import RANK
from lorascale_lint.model.scale_branches import EXPLAINS, OneSided, OtherBranch, parting
from lorascale_lint.model.unscaled_exits import Exit, Rescaling, exits_of
from lorascale_lint.model.values import Number
from lorascale_lint.model.vocabulary import number_role

_SCALES = re.compile(r"(?i)alpha|scal|strength|multipl|gamma|magnitude")
_FORWARD = frozenset("forward __call__ call".split())
_SETUP = frozenset("__init__ __post_init__ build setup reset_parameters init_weights".split())
_WAY_LIMIT = 200
_KEEPS = frozenset("to float half detach clone data T t transpose view reshape type_as contiguous".split())


@dataclass(frozen=True, slots=True, eq=False)
class Composition:
    """``method`` adds its parameter ``delta``, times the attribute ``scaling``, to something else.

    ``override`` is the parameter that a caller may give instead of the stored scale.
    """

    method: Function
    delta: str
    scaling: str
    override: str | None
    loc: Loc


@dataclass(frozen=True, slots=True, eq=False)
class _Use:
    """A call of a method by the name of a composition, with the delta and the scale that it is given."""

    caller: Function
    call: Call
    delta: Term
    given: Term | None


def past_compositions(model: Model) -> Iterator[OneSided]:
    """Bare deltas of classes whose own composition multiplies by the trained scale."""
    for cls in model.project.classes.values():
        if is_test_file(cls.filename):
            continue
        found = tuple(_compositions(model, cls))
        if found:
            products = frozenset(_products(model, cls))
            yield from _forwards(model, cls, found, products)
            yield from _merges(model, found, products)


def _compositions(model: Model, cls: Class) -> Iterator[Composition]:
    for method in model.project.methods(cls):
        if method.facts.name in _SETUP:
            continue
        for event in method.events("return", "write"):
            for factors, loc in _added(event):
                for delta, scale in (factors, factors[::-1]):
                    if isinstance(delta, Param) and not is_receiver(delta, method):
                        found = _stored_scale(model, method, scale)
                        if found is not None:
                            yield Composition(method, delta.name, *found, loc)


def _added(event: Event) -> Iterator[tuple[tuple[Term, Term], Loc]]:
    """Two factors of each product that ``event`` adds to something."""
    match event.value:
        case Op(sign=("+" | "-"), left=left, right=right) if not event.sign:
            sides: tuple[Term, ...] = (left, right)
        case Call(func=Attr(name="add" | "sub" | "add_" | "sub_"), args=(*_, delta), keywords=keywords):
            alpha = dict(keywords).get("alpha")
            sides = (delta,) if alpha is None else ()
            if alpha is not None:
                yield (delta, alpha), event.value.loc
        case value:
            sides = (value,) if event.sign in ("+", "-") else ()
    for side in sides:
        if isinstance(side, Op) and side.sign == "*":
            yield (side.left, side.right), side.loc


def _stored_scale(model: Model, method: Function, scale: Term) -> tuple[str, str | None] | None:
    """The attribute and the parameter that ``scale`` is: stored, or given by the caller instead."""
    leaves, given = [scale], None
    stored: list[Term] = []
    while leaves:
        leaf = leaves.pop()
        match leaf:
            case Choice(then=then, other=other) | Logic(sign="or", left=then, right=other):
                leaves += [then, other]
            case Param(name=name) if not is_receiver(leaf, method):
                given = name
            case _:
                stored.append(leaf)
    frame = model.evaluator.frame(method)
    values = [a.value for leaf in stored for a in model.evaluator.values(leaf, frame)]
    if not values or not all(isinstance(v, Number) and v.scale.is_trained for v in values):
        return None
    names = [
        t.name
        for t in walk(*stored)
        if isinstance(t, Attr) and is_receiver(t.base, method) and number_role(t.name, True) != RANK
    ]
    return (names[0], given) if len(set(names)) == 1 else None


def _products(model: Model, cls: Class) -> Iterator[str]:
    """Names of properties and methods of ``cls`` that only return the bare product of both factors."""
    for method in model.project.methods(cls):
        if method.facts.name in _SETUP | _FORWARD or not _is_free_of_scales(model, method):
            continue
        ways = [way for event in method.events("return") for way in _ways(model, method, event.value)]
        if ways and all(way.is_plain for way in ways):
            yield method.facts.name


@dataclass(frozen=True, slots=True, eq=False)
class _Way:
    """The product of both factors on one way to a return; not ``is_plain`` if a tensor is multiplied on."""

    loc: Loc
    guards: tuple[Guard, ...]
    is_plain: bool

    @property
    def tests(self) -> tuple[Term, ...]:
        """The conditions on the way."""
        return tuple(guard.test for guard in self.guards)


def _ways(model: Model, method: Function, value: Term) -> Iterator[_Way]:
    """The ways in which ``value`` may be the product of both factors; nothing of what is not followed.

    Whether a factor was rescaled before does not matter here: the composition of the class takes the
    product of the same factors, and multiplies by the trained scale.
    """
    products = {id(found.term) for found in model.factor_products.of(method)}
    pending: list[tuple[Term, tuple[Guard, ...], bool]] = [(value, (), True)]
    for _ in range(_WAY_LIMIT):
        if not pending:
            return
        term, guards, plain = pending.pop()
        term = _converted(term)
        if id(term) in products:
            yield _Way(term.loc, guards, plain)
            continue
        match term:
            case Choice(test=test, then=then, other=other):
                for arm, holds in ((then, True), (other, False)):
                    asked = guards if test is None else (*guards, Guard(test, holds))
                    pending.append((arm, asked, plain))
            case Sequence(items=items) if not term.repeated:
                pending += [(item, guards, plain) for item in items]
            case Op(sign="*", left=left, right=right):
                pending += [(left, guards, False), (right, guards, False)]
            case _:
                pass


def _is_free_of_scales(model: Model, method: Function) -> bool:
    """Does neither ``method`` nor what it calls have a name that may carry a scale?"""
    reached = model.project.reachable(method, 2)
    return is_undecorated(method) and not any(
        _SCALES.search(word) for near in (method, *reached) for word in near.facts.words if " " not in word
    )


# ---- forwards -----------------------------------------------------------------------------


def _forwards(
    model: Model, cls: Class, found: tuple[Composition, ...], products: frozenset[str]
) -> Iterator[OneSided]:
    for method in model.project.methods(cls):
        if method.facts.name not in _FORWARD or not _is_free_of_scales(model, method):
            continue
        ways = [
            (event, way) for event in method.events("return") for way in _ways(model, method, event.value)
        ]
        plain = next(((e, w) for e, w in ways if w.is_plain and not any(map(_explains, w.tests))), None)
        if plain is None:
            continue
        event, way = plain
        for composition in found:
            uses = tuple(_uses(model, composition))
            if not all(_is_settled(use, products) for use in uses):
                continue
            literal = next((use for use in uses if _is_one(use.given)), None)
            if literal is None or _scaled_outside(model, composition.scaling):
                continue
            name, other = composition.method.facts.name, composition.method
            yield OneSided(
                method,
                event.loc,
                event,
                f"`{method.facts.qualname}` leaves out the trained scale of `{name}`",
                (
                    (
                        other.filename,
                        composition.loc,
                        f"`{name}` multiplies a delta by `{composition.scaling}`",
                    ),
                    (method.filename, way.loc, "the product of both factors is made here"),
                    (method.filename, event.loc, "and returned without it"),
                    (literal.caller.filename, literal.call.loc, f"and `{name}` is told to apply 1 to it"),
                ),
                rescaling=_returned(model, method, event, ways, composition.scaling),
                other_branch=_ungated(event, way, ways, f"{method.receiver}.{composition.scaling}"),
            )
            break


def _returned(
    model: Model, method: Function, event: Event, ways: list[tuple[Event, _Way]], scaling: str
) -> Rescaling | None:
    """The product that ``event`` returns by the stored scale, if all ways are the plain product."""
    if not all(way.is_plain and at is event for at, way in ways):
        return None
    exits = exits_of(model.factor_products.of(method), f"{method.receiver}.{scaling}")
    return Rescaling(exits, True) if exits else None


def _ungated(
    event: Event, plain_way: _Way, ways: list[tuple[Event, _Way]], scalar: str
) -> OtherBranch | None:
    """The branch of the plain product, where on the other one a gate stands in the place of the scale."""
    gated = [way for at, way in ways if not way.is_plain and at is event]
    if len(ways) != 2 or len(gated) != 1:
        return None
    condition = parting(plain_way.guards, gated[0].guards)
    return None if condition is None else OtherBranch(condition, None, scalar)


def _explains(test: Term) -> bool:
    """May the condition say why there is no scale, or is it a flag that the caller gives?"""
    return isinstance(test, Param) or any(
        isinstance(term, Attr | Param) and EXPLAINS.search(term.name) for term in walk(test)
    )


def _is_settled(use: _Use, products: frozenset[str]) -> bool:
    """Can the delta of ``use`` only be a weight's, or is its scale given?"""
    if use.given is not None:
        return True
    return any(isinstance(term, Attr) and term.name in products for term in walk(use.delta)) or (
        isinstance(use.delta, Call | Op)
        and len({t.name for t in walk(use.delta) if isinstance(t, Attr) and re.search("lora_[AB]", t.name)})
        == 2
    )


def _is_one(term: Term | None) -> bool:
    return isinstance(term, Const) and not isinstance(term.value, bool) and term.value in (1, 1.0)


def _scaled_outside(model: Model, name: str) -> bool:
    """Does any code read the stored scale off an object that is not ``self``?"""
    return any(read.class_name is None for read in model.names.attribute_reads(name))


def _uses(model: Model, composition: Composition) -> Iterator[_Use]:
    """Calls of any method by that name, but for those on ``self`` of other classes."""
    name = composition.method.facts.name
    for caller in model.project.functions.values():
        if name not in caller.facts.words:
            continue
        for _, term in each_term(caller.facts.events):
            if isinstance(term, Call) and isinstance(term.func, Attr) and term.func.name == name:
                bound = bound_arguments(term, composition.method)
                delta = bound.get(composition.delta)
                if delta is not None:
                    yield _Use(caller, term, delta, bound.get(composition.override or ""))


# ---- merges -------------------------------------------------------------------------------


def _merges(model: Model, found: tuple[Composition, ...], products: frozenset[str]) -> Iterator[OneSided]:
    """One branch composes the delta at its scale; the other hands the same delta to a plain sum."""
    for composition in found:
        for use in _uses(model, composition):
            named = [t for t in walk(use.delta) if isinstance(t, Attr) and t.name in products]
            if use.given is not None or not named:
                continue
            for event in use.caller.events("write", "return"):
                call = event.value
                if not isinstance(call, Call) or call is use.call:
                    continue
                other = _event_of(use)
                apart = None if other is None else parting(event.guards, other.guards)
                if apart is None or other is None or not _same_target(event, other):
                    continue
                plain = _plainly_added(model, use.caller, call, use.delta)
                if plain is not None:
                    yield replace(
                        _one_sided(composition, use, event, call, plain, named[0], apart),
                        rescaling=_handed_to_helpers(model, use.caller, found, products),
                    )


def _one_sided(
    composition: Composition,
    use: _Use,
    event: Event,
    call: Call,
    plain: tuple[Function, Loc],
    named: Attr,
    apart: Guard,
) -> OneSided:
    helper, loc = plain
    caller = use.caller
    return OneSided(
        caller,
        call.loc,
        event,
        f"`{helper.facts.name}` gets the delta without the trained scale that "
        f"`{composition.method.facts.name}` multiplies on",
        (
            (caller.filename, named.loc, f"`{named.name}` is the bare product of both factors"),
            (
                composition.method.filename,
                composition.loc,
                f"`{composition.method.facts.qualname}` multiplies it by `{composition.scaling}`",
            ),
            (caller.filename, apart.test.loc, f"but on this branch `{helper.facts.name}` is called instead"),
            (helper.filename, loc, "which adds it as it is"),
        ),
    )


def _handed_to_helpers(
    model: Model, merge: Function, found: tuple[Composition, ...], products: frozenset[str]
) -> Rescaling | None:
    """Each bare delta that is given to a plain function, by the scale of the object that it is read off.

    None if the class of ``merge`` uses a bare delta anywhere but there and in compositions: a merge, its norm
    and its inverse must agree.
    """
    compositions = {composition.method.facts.name for composition in found}
    filename, scaling = merge.filename, found[0].scaling
    exits: list[Exit] = []
    for caller in model.project.functions.values():
        if products.isdisjoint(caller.facts.words):
            continue
        if caller.filename != filename or caller.owner is None:
            continue
        terms = {id(term): term for _, term in each_term(caller.facts.events)}
        bare = {key for key, term in terms.items() if isinstance(term, Attr) and term.name in products}
        for event, call in each_term(caller.facts.events):
            if not isinstance(call, Call) or any(leaving.call is call for leaving in exits):
                continue
            for given in (*call.args, *(value for _, value in call.keywords)):
                named = _named(given, products)
                if named is None:
                    continue
                composes = isinstance(call.func, Attr) and call.func.name in compositions
                callees = model.project.callees(call.func, caller, caller.owner)
                helper = len(callees) == 1 and isinstance(callees[0], Function) and callees[0].owner is None
                if not composes and not helper:
                    continue
                bare.discard(id(named))
                if not composes:
                    scalar = _read_off(model, caller, named, scaling)
                    if scalar is None:
                        return None
                    exits.append(Exit(caller, event, (given,), scalar, None, call))
        if bare and caller.owner is merge.owner:
            return None
    return Rescaling(tuple(exits), False) if exits else None


def _named(given: Term, products: frozenset[str]) -> Attr | None:
    """The bare delta that ``given`` is, or is but for a method that may transpose it."""
    match given:
        case Attr(name=name) if name in products:
            return given
        case Call(func=Attr(), args=(Attr(name=name) as named,), keywords=()) if name in products:
            return named
        case _:
            return None


def _read_off(model: Model, caller: Function, named: Attr, scaling: str) -> str | None:
    """``lora.scaling`` for ``lora.delta_w``, as the caller writes it."""
    rows = model.read_source(caller.filename).decode(errors="replace").splitlines()
    loc = named.loc
    text = rows[loc.row - 1][loc.column - 1 : loc.end_column - 1] if loc.row == loc.end_row else ""
    owner = text.removesuffix(f".{named.name}")
    return f"{owner}.{scaling}" if owner.isidentifier() else None


def _event_of(use: _Use) -> Event | None:
    return next((e for e in use.caller.events("write", "return") if e.value is use.call), None)


def _same_target(left: Event, right: Event) -> bool:
    if left.kind != right.kind:
        return False
    if left.target is None or right.target is None:
        return left.target is right.target
    return source_text(left.target) == source_text(right.target)


def _plainly_added(model: Model, caller: Function, call: Call, delta: Term) -> tuple[Function, Loc] | None:
    """The function that ``call`` hands ``delta`` to, and where it adds it with nothing multiplied on."""
    callees = model.project.callees(call.func, caller, caller.owner)
    if len(callees) != 1 or not isinstance(callees[0], Function):
        return None
    helper = callees[0]
    names = [name for name, argument in bound_arguments(call, helper).items() if argument is delta]
    if len(names) != 1:
        return None
    sums: list[Loc] = []
    for _, term in each_term(helper.facts.events):
        parts = _operands(term)
        if not any(isinstance(part, Param) and part.name == names[0] for part in parts):
            continue
        if not isinstance(term, Op) or term.sign not in ("+", "-"):
            return None
        sums.append(term.loc)
    return (helper, sums[0]) if sums else None


def _operands(term: Term) -> tuple[Term, ...]:
    """What ``term`` computes with, conversions taken off."""
    match term:
        case Op(left=left, right=right):
            parts: tuple[Term, ...] = (left, right)
        case Call(func=Attr(base=base, name=name), args=args):
            parts = args if name in _KEEPS else (base, *args)
        case Call(args=args, keywords=keywords):
            parts = (*args, *(value for _, value in keywords))
        case _:
            return ()
    return tuple(map(_converted, parts))


def _converted(term: Term) -> Term:
    while True:
        match term:
            case Call(func=Attr(base=base, name=name)) if name in _KEEPS:
                term = base
            case Attr(base=base, name=name) if name in _KEEPS:
                term = base
            case _:
                return term
