"""Deltas that one branch, method or class scales and its sibling does not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Const,
    Event,
    Global,
    Guard,
    Loc,
    Not,
    Op,
    Param,
    Sequence,
    Term,
    walk,
)
from lorascale_lint.findings import Confidence
from lorascale_lint.model.applications import Step, describe_guard
from lorascale_lint.model.call_values import is_undecorated
from lorascale_lint.model.factor_products import unscaled_products
from lorascale_lint.model.model import Model
from lorascale_lint.model.multiplications import Multiplication, ScalePath
from lorascale_lint.model.project import Class, Function, is_receiver, is_test_file
from lorascale_lint.model.scale import ALPHA, RANK, SCALING
from lorascale_lint.model.unscaled_exits import Exit, Rescaling, scalar_for
from lorascale_lint.model.vocabulary import key_role

EXPLAINS = re.compile(
    r"(?i)alpha|scal|rank|strength|multipl|merg|fus|fold|gamma|raw|norm|dora|magnitude|quant|^r$|ratio|factor"
)
"""A condition on one of these may be why a branch has no scale of its own."""
_CALLED_BY_FRAMEWORK = frozenset("forward __call__ call".split())
_SETUP = frozenset("__init__ __post_init__ build setup reset_parameters init_weights".split())


@dataclass(frozen=True, slots=True, eq=False)
class OneSided:
    """A delta at ``loc`` that is not scaled where its sibling is.

    ``rescaling`` is what should be multiplied by which scale; ``other_branch`` where the one statement that
    uses the delta comes after a condition, of which one branch lacks the multiplication.
    """

    function: Function
    loc: Loc
    event: Event
    text: str
    steps: tuple[Step, ...]
    confidence: Confidence = "high"
    rescaling: Rescaling | None = None
    other_branch: OtherBranch | None = None

    @property
    def place(self) -> tuple[str, Loc]:
        """Where it is, in the whole project."""
        return self.function.filename, self.loc


@dataclass(frozen=True, slots=True, eq=False)
class OtherBranch:
    """Where ``condition`` is met the delta is to be multiplied by ``scalar``, as otherwise at ``scaled``.

    Without ``scaled``, the other branch multiplies the delta by something else.
    """

    condition: Guard
    scaled: Loc | None
    scalar: str


@dataclass(frozen=True, slots=True, eq=False)
class _End:
    """A delta where it leaves a function: by a sum, or by a return; on one path."""

    function: Function
    event: Event
    delta: Term
    loc: Loc
    path: ScalePath
    guards: tuple[Guard, ...]

    @property
    def trained(self) -> Multiplication | None:
        """The trained scale on this path."""
        return next((step for step in self.path.steps if step.scale.is_trained), None)

    @property
    def is_unscaled(self) -> bool:
        """Is everything on the path understood, and no trained scale in it?"""
        path = self.path
        bare = path.certain and not path.tensors and path.is_delta and path.scale.known
        return bare and not any(path.scale.power(symbol) for symbol in (ALPHA, RANK, SCALING))


def one_sided(model: Model) -> Iterator[OneSided]:
    """Every unscaled delta beside a scaled one, the nearest comparison first."""
    ends = {function: tuple(_ends(model, function)) for function in model.functions}
    reported = {(application.function.filename, application.loc) for _, application, _ in model.unscaled}
    for function, own in ends.items():
        if is_test_file(function.filename):
            continue
        for found in _branches(own):
            if found.place not in reported:
                reported.add(found.place)
                yield found
    for cls in model.project.classes.values():
        if not is_test_file(cls.filename):
            methods = [m for m in model.project.methods(cls) if m.facts.name not in _SETUP]
            for found in (*_methods(model, methods, ends), *_classes(model, cls, methods, ends)):
                if found.place not in reported:
                    reported.add(found.place)
                    yield found


def _ends(model: Model, function: Function) -> Iterator[_End]:
    """The deltas of ``function``, each path of each sum; of returns if it adds none."""
    frame = model.evaluator.frame(function)
    summed = False
    for application in model.applications_of.get(function, ()):
        if application in model.scaled_sums:
            continue
        summed = True
        for path in model.multiplications.paths(application.delta, frame):
            guards = (*application.event.guards, *_own_guards(path, function))
            yield _End(function, application.event, application.delta, application.loc, path, guards)
    if summed or not model.factor_products.of(function) or not is_undecorated(function):
        return
    for event in function.events("return"):
        for part in event.value.items if isinstance(event.value, Sequence) else (event.value,):
            for path in model.multiplications.paths(part, frame):
                if path.is_delta:
                    guards = (*event.guards, *_own_guards(path, function))
                    yield _End(function, event, part, part.loc, path, guards)


def _own_guards(path: ScalePath, function: Function) -> tuple[Guard, ...]:
    return tuple(guard for frame, guard in path.guards if frame.function is function)


# ---- branches of one function -------------------------------------------------------------


def _branches(ends: tuple[_End, ...]) -> Iterator[OneSided]:
    scaled = [(end, step) for end in ends if (step := end.trained) is not None]
    for end in ends:
        if not end.is_unscaled or _explained(end):
            continue
        if any(other.loc == end.loc and parting(end.guards, other.guards) is None for other, _ in scaled):
            continue  # scaled here as well: a helper leaves out a factor of 1
        for other, step in scaled:
            condition = parting(end.guards, other.guards)
            if condition is None or other.path.sides - end.path.sides:
                continue
            function = end.function
            yield OneSided(
                function,
                end.loc,
                end.event,
                f"`{function.facts.qualname}` scales the delta only if {describe_guard(_turned(condition))}",
                (
                    (function.filename, step.loc, f"`{step.text}` is multiplied on in one branch"),
                    (
                        function.filename,
                        condition.test.loc,
                        f"where {describe_guard(condition)}, that line is not reached",
                    ),
                    (function.filename, end.loc, "and the delta leaves here without the trained scale"),
                ),
                rescaling=None if other.event is end.event else _rescaling((end,), step),
                other_branch=_other_branch(end, condition, step) if other.event is end.event else None,
            )
            break


def _rescaling(ends: tuple[_End, ...], step: Multiplication) -> Rescaling | None:
    """All ``ends`` by the scale of ``step``, if each function can name it."""
    exits: list[Exit] = []
    for end in ends:
        scalar = scalar_for(step, end.function, end.event)
        if scalar is None:
            return None
        exits.append(Exit(end.function, end.event, (end.delta,), *scalar))
    return Rescaling(tuple(exits), True)


def _other_branch(end: _End, condition: Guard, step: Multiplication) -> OtherBranch | None:
    scalar = scalar_for(step, end.function, end.event)
    return None if scalar is None else OtherBranch(condition, step.loc, scalar[0])


def parting(left: tuple[Guard, ...], right: tuple[Guard, ...]) -> Guard | None:
    """The condition of ``left`` that ``right`` has the other way round."""
    for first in map(plain, left):
        for second in map(plain, right):
            if first.test is second.test and first.holds != second.holds:
                return first
    return None


def _turned(guard: Guard) -> Guard:
    return Guard(guard.test, not guard.holds)


def plain(guard: Guard) -> Guard:
    """The guard without the negations of its condition."""
    test, holds = guard.test, guard.holds
    while isinstance(test, Not):
        test, holds = test.operand, not holds
    return Guard(test, holds, guard.required)


def _explained(end: _End) -> bool:
    """Does a condition on the way, here or in a helper, say why there is no scale?"""
    inner = ((guard, frame.function) for frame, guard in end.path.guards)
    return any(_explains(g, f) for g, f in (*inner, *((guard, end.function) for guard in end.guards)))


def _explains(guard: Guard, function: Function) -> bool:
    """May the condition itself say why there is no scale: a flag of the caller, a format without alpha?"""
    test = plain(guard).test
    for part in walk(test):
        if isinstance(part, Attr | Param) and EXPLAINS.search(part.name) and not is_receiver(part, function):
            return True
        text = part.value if isinstance(part, Const) and isinstance(part.value, str) else ""
        if text and (key_role(text) is not None or EXPLAINS.search(text)):
            return True
    if not any(isinstance(part, Attr | Param | Global | Call) for part in walk(test)):
        return True  # decided when it is written: `None is None` of the first turn of a loop
    asked: tuple[Term, ...] = (test,)
    if isinstance(test, Op):
        asked = (test.left, test.right)
    return any(isinstance(term, Param) and not is_receiver(term, function) for term in asked)


# ---- methods of one class -----------------------------------------------------------------


def _methods(
    model: Model, methods: list[Function], ends: dict[Function, tuple[_End, ...]]
) -> Iterator[OneSided]:
    """Methods that return the bare product, beside one that scales it, and are used as they are."""
    scaling = next(
        (
            (method, step)
            for method in methods
            for end in ends.get(method, ())
            if (step := end.trained) is not None and end.path.is_delta and end.path.certain
        ),
        None,
    )
    if scaling is None:
        return
    other, step = scaling
    for method in methods:
        own = ends.get(method, ())
        if method is other or not own or not all(end.is_unscaled and not _explained(end) for end in own):
            continue
        if own[0].event.kind != "return" or model.factor_products.may_be_scaled(method):
            continue  # a sum is compared by LS101 and LS102
        if any(map(model.factor_products.is_folded, model.factor_products.of(method))):
            continue
        sites = model.project.call_sites(method)
        callers = [site.caller for site in sites]
        if any(model.factor_products.may_be_scaled(caller) for caller in callers):
            continue
        if not callers and method.facts.name not in _CALLED_BY_FRAMEWORK:
            continue
        end = own[0]
        used = tuple(
            (site.caller.filename, site.call.loc, f"`{site.caller.facts.qualname}` uses it as it is")
            for site in sites[:2]
        )
        yield OneSided(
            method,
            end.loc,
            end.event,
            f"`{method.facts.qualname}` leaves out the trained scale of `{other.facts.name}`",
            (
                (other.filename, step.loc, f"`{other.facts.qualname}` multiplies by `{step.text}`"),
                (method.filename, end.loc, "and this is the same product without it"),
                *used,
            ),
            "high" if callers else "medium",
            rescaling=_rescaling(own, step),
        )


# ---- classes of one hierarchy -------------------------------------------------------------


def _classes(
    model: Model, cls: Class, methods: list[Function], ends: dict[Function, tuple[_End, ...]]
) -> Iterator[OneSided]:
    """A class that inherits the scale which a sibling multiplies on, and never uses it."""
    own = [end for method in methods for end in ends.get(method, ())]
    if not own or not all(end.is_unscaled and not _explained(end) for end in own):
        return
    line = model.project.ancestors(cls)
    working = (m for member in line for m in model.project.methods(member) if m.facts.name not in _SETUP)
    products = unscaled_products(model.factor_products, working)
    if not products or any(map(model.factor_products.is_folded, products)):
        return
    for ancestor in line[1:]:
        for sibling in model.project.family(ancestor):
            if sibling in line or cls in model.project.ancestors(sibling):
                continue
            step = _inherited_step(model, sibling, ancestor, ends)
            if step is None:
                continue
            end = own[0]
            yield OneSided(
                end.function,
                end.loc,
                end.event,
                f"`{cls.name}` never uses the trained scale that `{sibling.name}` applies",
                (
                    (ancestor.filename, ancestor.facts.loc, f"both classes get it from `{ancestor.name}`"),
                    (sibling.filename, step.loc, f"`{sibling.name}` multiplies by `{step.text}`"),
                    (end.function.filename, end.loc, "and this is the bare product"),
                ),
                rescaling=_rescaling(tuple(own), step),
            )
            return


def _inherited_step(
    model: Model, sibling: Class, ancestor: Class, ends: dict[Function, tuple[_End, ...]]
) -> Multiplication | None:
    """A trained scale in ``sibling`` that is an attribute which ``ancestor`` itself writes."""
    for method in model.project.methods(sibling):
        for end in ends.get(method, ()):
            step = end.trained
            if step is None:
                continue
            own = [
                p.name for p in walk(step.term) if isinstance(p, Attr) and is_receiver(p.base, step.function)
            ]
            if any(
                write.on_self and write.function.owner in model.project.ancestors(ancestor)
                for name in own
                for write in model.project.writes(ancestor, name)
            ):
                return step
    return None
