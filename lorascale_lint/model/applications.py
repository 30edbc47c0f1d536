"""Applications: the places where a delta meets its base, with the scale it has there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal, TypeAlias

from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Event,
    Global,
    Guard,
    Loc,
    Logic,
    Op,
    Term,
    each_term,
    source_text,
    walk,
)
from lorascale_lint.model.evaluate import Evaluator
from lorascale_lint.model.frames import Frame
from lorascale_lint.model.project import Class, Function, Project, attribute_chain, is_receiver
from lorascale_lint.model.scale import STRENGTH, Scale
from lorascale_lint.model.values import Alternative, Delta, Number, Tensor, scaled

Kind = Literal["merge", "forward", "unmerge"]
Step: TypeAlias = tuple[str, Loc, str]
"""A step of an explanation: file name, place, what happens there."""

_Sum: TypeAlias = tuple[str, Term | None, Term, Scale, Loc]
"""Sign, base, delta, the multiplier of the delta, and the place of the whole sum."""
_ADDS = {"add": 1, "add_": 1, "sub": -1, "sub_": -1, "subtract": -1, "subtract_": -1}
_PRODUCT_ADDS = frozenset(["addmm", "addmm_", "baddbmm", "baddbmm_", "addbmm", "addbmm_"])


@dataclass(frozen=True, slots=True, eq=False)
class Application:
    """One place where ``base + delta`` (or ``base - delta``) is computed.

    ``deltas`` are the values that the delta may have; ``loc`` is the place of the whole sum.
    """

    kind: Kind
    function: Function
    loc: Loc
    event: Event
    base: Term | None
    delta: Term
    deltas: tuple[Alternative, ...]

    @property
    def owner(self) -> Class | None:
        """The class whose method applies the delta."""
        return self.function.owner

    @property
    def scales(self) -> tuple[Scale, ...]:
        """Distinct effective scales, in order."""
        return tuple(dict.fromkeys(scale for scale, _ in self.guarded_scales))

    @property
    def guarded_scales(self) -> tuple[tuple[Scale, tuple[Guard, ...]], ...]:
        """Effective scales with the conditions that choose between them."""
        return tuple((a.value.scale, a.guards) for a in self.deltas if isinstance(a.value, Delta))

    @property
    def is_unscaled(self) -> bool:
        """Is the whole scale known, and no trained scale in it on any branch?"""
        return bool(self.scales) and all(scale.is_unscaled for scale in self.scales)

    @property
    def is_trained(self) -> bool:
        """Does some branch carry the trained scale?"""
        return any(scale.is_trained for scale in self.scales)

    @property
    def has_strength(self) -> bool:
        """Does some branch carry a user strength?"""
        return any(scale.power(STRENGTH) for scale in self.scales)

    @property
    def misoriented(self) -> bool:
        """Does an activation meet the weight-space delta untransposed, on every branch?"""
        return bool(self.deltas) and all(
            isinstance(a.value, Delta) and a.value.misoriented for a in self.deltas
        )

    def delta_steps(self) -> tuple[Step, ...]:
        """Where the delta is made and which functions hand it or its factors on, for a trace."""
        via = dict.fromkeys(step for a in self.deltas for step in a.via)
        how = "hands it on unscaled" if all(s.is_unscaled for s in self.scales) else "returns it"
        return (
            (self.function.filename, self.delta.loc, "the delta reaches the sum from here"),
            *((function.filename, loc, f"`{function.facts.name}` {how}") for function, loc in list(via)[:4]),
        )

    def formula(self) -> str:
        """The effective scale as text, with its conditions: ``alpha / rank if a != r else 1``."""
        guarded = self.guarded_scales
        if len({scale for scale, _ in guarded}) < 2:
            return guarded[0][0].formula() if guarded else "unknown"
        if len(guarded) == 2 and _opposite(guarded[0][1], guarded[1][1]):
            (scale, (guard,)), (otherwise, _) = guarded
            return f"{scale.formula()} if {describe_guard(guard)} else {otherwise.formula()}"
        conditions: dict[Scale, list[tuple[Guard, ...]]] = {}
        for scale, guards in sorted(guarded, key=lambda item: not item[0].known):
            conditions.setdefault(scale, []).append(guards)
        parts = []
        for scale, cases in conditions.items():
            always = len(cases) > 1 or not cases[0]
            condition = "" if always else " if " + " and ".join(dict.fromkeys(map(describe_guard, cases[0])))
            parts.append(scale.formula() + condition)
        return " | ".join(parts)


def _opposite(left: tuple[Guard, ...], right: tuple[Guard, ...]) -> bool:
    """Are these the two branches of one condition?"""
    if len(left) != 1 or len(right) != 1:
        return False
    return left[0].test is right[0].test and left[0].holds and not right[0].holds


def describe_guard(guard: Guard) -> str:
    """A guard as text: ``a != r`` or ``not (a != r)``."""
    text = source_text(guard.test)
    if not guard.holds:
        return f"not ({text})"
    return f"({text})" if isinstance(guard.test, Logic) and guard.test.sign == "or" else text


def find_applications(evaluator: Evaluator, function: Function) -> Iterator[Application]:
    """Applications in the body of ``function``, in source order, each place once."""
    if not evaluator.in_lora_context(function):
        return
    frame = evaluator.frame(function)
    found: dict[Loc, Application] = {}
    sums: list[tuple[Event, _Sum]] = [
        (event, (event.sign, event.target, event.value, Scale(), event.loc))
        for event in function.events("write")
        if event.sign in ("+", "-") and event.target is not None
    ]
    events = [event for event in function.facts.events if event.kind not in ("test", "raise")]
    for event, term in each_term(events):
        sums.extend((event, found_sum) for found_sum in _sums(term, frame, evaluator))
    for event, (sign, base, delta, factor, loc) in sums:
        if loc not in found:
            application = _application(evaluator, frame, event, sign, base, delta, factor, loc)
            if application is not None:
                found[loc] = application
    yield from sorted(found.values(), key=lambda a: (a.loc.row, a.loc.column))


def _sums(term: Term, frame: Frame, evaluator: Evaluator) -> Iterator[_Sum]:
    """Sums spelled as an operator, a torch function or a tensor method."""
    match term:
        case Op(sign=("+" | "-") as sign, left=left, right=right):
            yield sign, left, right, Scale(), term.loc
            if sign == "+":
                yield sign, right, left, Scale(), term.loc
        case Call(func=Attr(base=receiver, name=name)) | Call(func=Global(name=name) as receiver):
            named = _ADDS.get(name)
            if named is None and name not in _PRODUCT_ADDS:
                return
            library = evaluator.calls.is_library_call(term, frame)
            operands = term.args if library else (receiver, *term.args)
            multiplier = dict(term.keywords).get("alpha")
            value = Number(Scale()) if multiplier is None else evaluator.single(multiplier, frame)
            factor = value.scale if isinstance(value, Number) else Scale(known=False)
            if named is not None and len(operands) >= 2:
                yield ("+" if named > 0 else "-"), operands[0], operands[1], factor, term.loc
            elif name in _PRODUCT_ADDS and len(operands) >= 3:
                joined = Op("@", operands[1], operands[2], term.loc)
                yield "+", operands[0], joined, factor, term.loc


def _application(
    evaluator: Evaluator,
    frame: Frame,
    event: Event,
    sign: str,
    base: Term | None,
    delta: Term,
    factor: Scale,
    loc: Loc,
) -> Application | None:
    deltas = tuple(
        replace(a, value=scaled(a.value, factor))
        for a in evaluator.values(delta, frame)
        if isinstance(a.value, Delta)
    )
    if not deltas:
        return None
    if base is not None and any(
        isinstance(a.value, Delta | Number) or (isinstance(a.value, Tensor) and a.value.zero)
        for a in evaluator.values(base, frame)
    ):
        return None  # a sum of deltas, or of numbers
    if all(isinstance(a.value, Delta) and a.value.scale.coefficient < 0 for a in deltas):
        minus = Scale(Fraction(-1))
        deltas = tuple(replace(a, value=scaled(a.value, minus)) for a in deltas)
        sign = "-" if sign == "+" else "+"
    layouts = {a.value.layout for a in deltas if isinstance(a.value, Delta)}
    kind: Kind = "unmerge" if sign == "-" else "forward" if layouts == {"activation"} else "merge"
    return Application(kind, frame.function, loc, event, base, delta, deltas)


@dataclass(frozen=True, slots=True, eq=False)
class Restoration:
    """An unmerge that puts back a saved weight: ``base.weight.data = self.cpu_weight``."""

    function: Function
    loc: Loc
    saved: str


def find_restorations(project: Project, function: Function) -> Iterator[Restoration]:
    """Writes to a base weight of what the constructor saved from one."""
    if function.owner is None or function.facts.name == "__init__":
        return
    for event in function.events("write"):
        if event.sign or not isinstance(event.target, Attr) or "weight" not in attribute_chain(event.target):
            continue
        saved = next((term for term in walk(event.value) if _own_attribute(term, function)), None)
        if isinstance(saved, Attr) and any(
            write.on_self
            and write.function.facts.name == "__init__"
            and "weight" in {name for term in walk(write.event.value) for name in attribute_chain(term)}
            for write in project.writes(function.owner, saved.name)
        ):
            yield Restoration(function, event.loc, saved.name)


def _own_attribute(term: Term, function: Function) -> bool:
    return isinstance(term, Attr) and is_receiver(term.base, function) and term.name != "base_layer"
