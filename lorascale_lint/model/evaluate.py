"""Abstract evaluation of terms: from what code computes to what it means for a LoRA delta.

Calls of project functions are evaluated in place, parameters through their call sites, attributes
through their writes. Every way is bounded; past a bound the answer is `Unknown`, which no rule reports.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fractions import Fraction

from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Choice,
    Const,
    Element,
    Global,
    Guard,
    Item,
    Logic,
    Negative,
    Op,
    Param,
    Sequence,
    Term,
)
from lorascale_lint.model.attribute_values import Attributes
from lorascale_lint.model.call_values import Calls
from lorascale_lint.model.common_input import reaches_both_summands
from lorascale_lint.model.containers import (
    may_fold,
)
from lorascale_lint.model.frames import Frame
from lorascale_lint.model.learned_scalars import is_dropout_mask, is_mean_of
from lorascale_lint.model.lookup_values import Lookups
from lorascale_lint.model.named_values import KEEPS, TRANSPOSES, by_name, constant
from lorascale_lint.model.plain_multipliers import asks_for_alpha, is_plain_multiplier
from lorascale_lint.model.project import (
    Class,
    Function,
    Project,
    bound_arguments,
    is_receiver,
    stored_values,
)
from lorascale_lint.model.scale import ALPHA, MULTIPLIER, ONE, RANK, STRENGTH, UNKNOWN, Scale
from lorascale_lint.model.values import (
    UNKNOWN_VALUE,
    Alternative,
    Factor,
    Nothing,
    Number,
    Tensor,
    Value,
    distinct,
    folded_scale,
    map_values,
    operate,
    scaled,
    transposed,
)
from lorascale_lint.model.vocabulary import (
    factor_side,
    has_lora_word,
    is_base_name,
    number_role,
)

DEPTH_LIMIT = 28
"""Nested calls, attributes and parameters followed from one term."""


@dataclass
class Evaluator:
    """Evaluates terms of one project; results are kept by term and frame."""

    project: Project
    for_map: bool = False
    """Is it `map` that asks? It names what rules take as unknown: ``scale=1.0``, learned scalars, masks."""
    alive: list[object] = field(default_factory=list)
    """What results are kept for by identity, which must not be reused."""
    _memo: dict[tuple[int, int], tuple[Alternative, ...]] = field(default_factory=dict)
    _active: set[tuple[int, int]] = field(default_factory=set)
    _frames: dict[tuple[int, int], Frame] = field(default_factory=dict)
    _context: dict[int, bool] = field(default_factory=dict)
    _depth: int = 0

    def __post_init__(self) -> None:
        self.attributes = Attributes(self)
        self.lookups = Lookups(self)
        self.calls = Calls(self)

    def frame(self, function: Function, self_class: Class | None = None) -> Frame:
        """The frame of ``function`` for any call of it."""
        owner = self_class or function.owner
        key = (id(function), id(owner))
        if key not in self._frames:
            self._frames[key] = Frame(function, owner)
        return self._frames[key]

    def values(self, term: Term, frame: Frame) -> tuple[Alternative, ...]:
        """All values that ``term`` may have, at least one."""
        key = (id(term), id(frame))
        known = self._memo.get(key)
        if known is not None:
            return known
        if key in self._active or self._depth > DEPTH_LIMIT:
            return (Alternative(UNKNOWN_VALUE),)
        self._active.add(key)
        self._depth += 1
        try:
            found = distinct(self._evaluate(term, frame))
        finally:
            self._depth -= 1
            self._active.discard(key)
        self._memo[key] = found
        self.alive.append((term, frame))
        return found

    def single(self, term: Term, frame: Frame) -> Value:
        """The value of ``term`` if it has only one, else `Unknown`."""
        found = {alternative.value for alternative in self.values(term, frame)}
        return found.pop() if len(found) == 1 else UNKNOWN_VALUE

    def is_trained_scale(self, method: Function) -> bool:
        """Does ``method`` return the trained scale (or 1 where there is none to apply)?"""
        found = self.calls.returned(method, self.frame(method))
        scales = {a.value.scale for a in found if isinstance(a.value, Number)}
        whole = len([a for a in found if isinstance(a.value, Number)]) == len(found)
        return whole and any(s.is_trained for s in scales) and all(s.is_trained or s == ONE for s in scales)

    def in_lora_context(self, function: Function) -> bool:
        """Do the function or its class speak of LoRA, so that weak names count?"""
        known = self._context.get(id(function))
        if known is None:
            known = has_lora_word((function.facts.qualname, *function.facts.words))
            if not known and function.owner is not None:
                known = self._class_speaks_of_lora(function.owner)
            known = known or _takes_low_rank_pair(function)
            self._context[id(function)] = known
        return known

    def _class_speaks_of_lora(self, cls: Class) -> bool:
        return any(
            has_lora_word([ancestor.name])
            or any(has_lora_word(method.facts.words) for method in self.project.methods(ancestor))
            for ancestor in self.project.ancestors(cls)
        )

    def _evaluate(self, term: Term, frame: Frame) -> tuple[Alternative, ...]:
        match term:
            case Const(value=value):
                return (Alternative(constant(value)),)
            case Param():
                return self._param(term, frame)
            case Attr():
                return self._attribute(term, frame)
            case Item():
                return self.lookups.item(term, frame)
            case Global(name=name):
                return self._named(name, frame)
            case Op(sign=sign, left=left, right=right):
                if self.for_map and is_dropout_mask(term):
                    return (Alternative(Number(ONE)),)
                if self.for_map and sign == "/" and is_mean_of(right, left):
                    return self.values(left, frame)
                return self.combine(sign, left, right, frame)
            case Negative(operand=operand):
                minus = Scale(Fraction(-1))
                return tuple(replace(a, value=scaled(a.value, minus)) for a in self.values(operand, frame))
            case Choice(test=test, then=then, other=other):
                return self.choice(test, then, other, frame)
            case Logic(sign="or", left=left, right=right):
                either = (*self.values(left, frame), *self.values(right, frame))
                return _without_stand_in(either) if self.for_map else either
            case Call():
                return self.calls.of(term, frame)
            case Element():
                stored = tuple(stored_values(term))
                if stored:
                    return tuple(a for option in stored for a in self.values(option, frame))
                return self.lookups.element(term.source, frame) or (Alternative(Tensor()),)
            case Sequence():
                return (Alternative(UNKNOWN_VALUE),)
            case _:
                return (Alternative(UNKNOWN_VALUE),)

    def choice(self, test: Term | None, then: Term, other: Term, frame: Frame) -> tuple[Alternative, ...]:
        guarded: list[Alternative] = []
        for branch, holds in ((then, True), (other, False)):
            extra = () if test is None else (Guard(test, holds),)
            guarded.extend(replace(a, guards=(*extra, *a.guards)) for a in self.values(branch, frame))
        if self.for_map and test is not None and asks_for_alpha(test):
            return _without_stand_in(guarded)
        return tuple(guarded)

    def combine(self, sign: str, left: Term, right: Term, frame: Frame) -> tuple[Alternative, ...]:
        return self.calls.pairwise(lambda first, second: operate(sign, first, second), left, right, frame)

    def _named(self, name: str, frame: Frame) -> tuple[Alternative, ...]:
        context = self.in_lora_context(frame.function)
        return (Alternative(by_name(name, context) or UNKNOWN_VALUE),)

    def _param(self, term: Param, frame: Frame) -> tuple[Alternative, ...]:
        function = frame.function
        context = self.in_lora_context(function)
        if term.function != function.facts.qualname:  # captured from an enclosing function
            return (Alternative(by_name(term.name, context) or Tensor()),)
        named = by_name(term.name, context)
        if isinstance(named, Number) and not self.is_multiplier(term.name, frame):
            return (Alternative(named),)
        if frame.arguments is not None:
            if term.name in frame.arguments:
                argument, outer = frame.arguments[term.name]
                return self.values(argument, outer)
            parameter = function.parameter(term.name)
            if parameter is not None and parameter.default is not None:
                return self.values(parameter.default, frame)
        elif self.is_multiplier(term.name, frame):
            strength = Number(Scale.of(STRENGTH))
            return (Alternative(strength if named == strength else Number(Scale.of(MULTIPLIER))),)
        folded = self._folded_by_callers(term, frame)
        base = named or Tensor(base=is_base_name(term.name))
        return tuple(Alternative(scaled(base, scale)) for scale in folded)

    def is_multiplier(self, name: str, frame: Frame) -> bool:
        return self.for_map and is_plain_multiplier(frame.function, name)

    def _folded_by_callers(self, term: Param, frame: Frame) -> tuple[Scale, ...]:
        """Scales that callers have multiplied into a tensor parameter; ``(ONE,)`` if none is seen."""
        scales: dict[Scale, None] = {}
        if self.project.rescaled_arguments(frame.function, term.name):
            scales[UNKNOWN] = None
        for site in self.project.call_sites(frame.function):
            argument = bound_arguments(site.call, frame.function).get(term.name)
            if argument is None:
                continue
            for alternative in self.values(argument, self.frame(site.caller)):
                scale = folded_scale(alternative.value)
                if scale is not None:
                    scales[scale] = None
                elif not isinstance(alternative.value, Nothing):
                    scales[UNKNOWN if may_fold(argument) else ONE] = None
        if UNKNOWN in scales and reaches_both_summands(frame.function, term.name):
            return (ONE,)
        return tuple(scales) or (ONE,)

    def _attribute(self, term: Attr, frame: Frame) -> tuple[Alternative, ...]:
        name = term.name
        if name in TRANSPOSES:
            return map_values(transposed, self.values(term.base, frame))
        context = self.in_lora_context(frame.function)
        if is_receiver(term.base, frame.function) and frame.self_class is not None:
            return self.attributes.own(name, frame)
        if name == "weight" and isinstance(term.base, Attr | Item | Call | Param | Global):
            inner = self.values(term.base, frame)
            if any(isinstance(a.value, Factor) for a in inner):
                return inner
        named = by_name(name, context)
        if named is not None:
            return (Alternative(named),)
        if name in KEEPS and name not in ("weight", "get"):
            return self.values(term.base, frame)
        if is_base_name(name):
            return (Alternative(Tensor(base=True)),)
        return (Alternative(UNKNOWN_VALUE),)


def _takes_low_rank_pair(function: Function) -> bool:
    """Does the signature alone speak of LoRA: ``(down, up, alpha, rank)``?"""
    names = [parameter.name for parameter in function.facts.parameters]
    roles = {number_role(name, True) for name in names}
    return {ALPHA, RANK} <= roles and {factor_side(name, True) for name in names} >= {"A", "B"}


def _without_stand_in(found: Iterable[Alternative]) -> tuple[Alternative, ...]:
    """Alpha alone, where the rank stands in for a missing one."""
    found = tuple(found)
    alpha = Number(Scale.of(ALPHA))
    return (Alternative(alpha),) if {a.value for a in found} == {alpha, Number(Scale.of(RANK))} else found
