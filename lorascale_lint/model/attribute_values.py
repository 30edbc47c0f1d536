"""What an attribute of ``self`` holds: a property's result, what is written to it, what its name says."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from lorascale_lint.facts.terms import (
    Attr,
    Const,
    Item,
    Param,
    walk,
)
from lorascale_lint.model.factor_shapes import (
    is_empty_container,
    is_number,
    makes_module,
    module_side,
)
from lorascale_lint.model.frames import Frame
from lorascale_lint.model.learned_scalars import is_learned_scalar
from lorascale_lint.model.named_values import by_name, constant, is_computed
from lorascale_lint.model.parameter_shapes import factor_pair
from lorascale_lint.model.project import (
    AttributeWrite,
    is_initialisation,
)
from lorascale_lint.model.scale import GATE, MULTIPLIER, ONE, SCALING, UNKNOWN, Scale
from lorascale_lint.model.values import (
    UNKNOWN_VALUE,
    Alternative,
    Delta,
    Factor,
    Nothing,
    Number,
    Tensor,
    folded_scale,
    scaled,
)
from lorascale_lint.model.vocabulary import (
    factor_side,
    has_lora_word,
    is_base_name,
)

if TYPE_CHECKING:
    from lorascale_lint.model.evaluate import Evaluator

SELF_READ_LIMIT = 2
"""How often writes of an attribute that read it themselves are followed."""
_SCALE_ATTRIBUTE = re.compile(r"_?(lora_|adapter_)?(scale|scaling|gamma)")
_SETS_STRENGTH = re.compile(r"(?i)_*((un|re|set_)*(scale|strength|multiplier|weight))(_.*)?")


@dataclass
class Attributes:
    """Evaluates attributes for ``evaluator``; what is written is kept by class and name."""

    evaluator: Evaluator
    _attributes: dict[tuple[int, str, int], list[Alternative]] = field(default_factory=dict)
    _reading: dict[tuple[int, str], int] = field(default_factory=dict)
    _factor_pairs: dict[int, dict[str, Literal["A", "B"]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.project = self.evaluator.project

    def own(self, name: str, frame: Frame) -> tuple[Alternative, ...]:
        """``self.name``: a property's result, what the class writes to it, or what the name says."""
        assert frame.self_class is not None
        method = self.project.method(frame.self_class, name)
        if method is not None and any(
            decorator.rpartition(".")[2] in ("property", "cached_property")
            for decorator in method.facts.decorators
        ):
            return self.evaluator.calls.returned(
                method, self.evaluator.calls.frame(method, frame.self_class, {})
            )
        if self.evaluator.for_map and is_learned_scalar(self.project, frame.self_class, name):
            return (Alternative(Number(Scale.of(GATE))),)
        context = self.evaluator.in_lora_context(frame.function) or has_lora_word([frame.self_class.name])
        named = by_name(name, context)
        written = self._written(name, frame)
        if named is None and context:
            named = self._made_by_rank(name, frame) or self._stored_scale(name, frame)
        match named:
            case Factor():
                if self._is_rescaled(name, named, frame):
                    return (Alternative(scaled(named, UNKNOWN)),)
                scales = {folded_scale(a.value) for a in written} - {None}
                return tuple(Alternative(scaled(named, scale)) for scale in scales if scale is not None) or (
                    Alternative(named),
                )
            case Number():
                computed = [a for a in written if isinstance(a.value, Number) and is_computed(a.value.scale)]
                constant = named.scale == Scale.of(SCALING) and self._is_literal(name, frame)
                return tuple(computed) or tuple(written if constant else ()) or (Alternative(named),)
            case _:
                pass
        numbers = [a for a in written if isinstance(a.value, Number | Nothing)]
        if written and len(numbers) == len(written):
            given = [a for a in numbers if a.value == Number(Scale.of(MULTIPLIER))]
            if given and all(a.value in (Number(Scale.of(MULTIPLIER)), Number(ONE)) for a in numbers):
                return (given[0],)  # 1 is what a multiplier is if nobody gives one
            return tuple(written)
        factors = [a for a in written if isinstance(a.value, Factor | Delta)]
        if factors and name in self.project.rescaled_attributes:
            return tuple(replace(a, value=scaled(a.value, UNKNOWN)) for a in factors)
        if factors:
            return tuple(factors)
        return (Alternative(Tensor(base=True) if is_base_name(name) else UNKNOWN_VALUE),)

    def _is_literal(self, name: str, frame: Frame) -> bool:
        """Is ``self.name`` a number that the class writes down, and nobody sets to anything else?"""
        assert frame.self_class is not None
        writes = self.project.writes(frame.self_class, name)
        return bool(writes) and all(
            write.on_self
            and (is_empty_container(write.event.value) or is_number(write.event.value))
            and not write.event.sign
            for write in writes
        )

    def _made_by_rank(self, name: str, frame: Frame) -> Factor | None:
        """The factor that a module attribute is made as: ``self.to_q_down = nn.Linear(width, rank)``."""
        assert frame.self_class is not None
        writes = [write for write in self.project.writes(frame.self_class, name) if write.on_self]
        sides = {
            module_side(
                self.evaluator, write.event.value, self.evaluator.frame(write.function, frame.self_class)
            )
            for write in writes
            if not (isinstance(write.event.value, Const) and write.event.value.value is None)
        }
        match sorted(sides, key=str):
            case ["A"]:
                return Factor("A")
            case ["B"]:
                return Factor("B")
            case _:
                pair = self._factor_pairs.get(id(frame.self_class))
                if pair is None:
                    pair = self._factor_pairs[id(frame.self_class)] = factor_pair(
                        self.evaluator, frame.self_class
                    )
                return Factor(pair[name]) if name in pair else None

    def _stored_scale(self, name: str, frame: Frame) -> Number | None:
        """The scale that a layer is made with: ``self.scale = scale`` in the constructor of a LoRA class."""
        assert frame.self_class is not None
        if _SCALE_ATTRIBUTE.fullmatch(name) is None:
            return None
        writes = [write for write in self.project.writes(frame.self_class, name) if write.on_self]
        taken = [
            isinstance(write.event.value, Param) and _SCALE_ATTRIBUTE.fullmatch(write.event.value.name)
            for write in writes
        ]
        if self.evaluator.for_map and any(
            isinstance(write.event.value, Param)
            and self.evaluator.is_multiplier(write.event.value.name, self.evaluator.frame(write.function))
            for write in writes
        ):
            return None  # what is written says so
        return Number(Scale.of(SCALING)) if taken and all(taken) else None

    def _is_rescaled(self, name: str, factor: Factor, frame: Frame) -> bool:
        """May some code have multiplied a scale into the factor?"""
        if not self.evaluator.for_map:
            rescaled = factor.side in self.project.rescaled_sides or name in self.project.rescaled_attributes
            return rescaled or self._rescaled_nearby(frame)
        assert frame.self_class is not None
        return (
            name in self.project.rescaled_attributes and factor_side(name, False) is not None
        ) or frame.self_class.filename in self.project.folding_files

    def _rescaled_nearby(self, frame: Frame) -> bool:
        """Does the file of the class rescale entries of a state dict, from which factors may come?"""
        assert frame.self_class is not None
        return frame.self_class.filename in self.project.rescaling_files

    def _written(self, name: str, frame: Frame) -> list[Alternative]:
        """What the class writes to ``self.name``, kept, for each read would walk all writes again.

        Writes that read the attribute themselves (``self.scale = self.scale * x``) are followed twice.
        """
        key = (id(frame.self_class), name)
        level = self._reading.get(key, 0)
        known = self._attributes.get((*key, level))
        if known is not None:
            return known
        if level == SELF_READ_LIMIT:
            return [Alternative(UNKNOWN_VALUE)]
        self._reading[key] = level + 1
        try:
            found = self._read_writes(name, frame)
        finally:
            self._reading[key] = level
        self._attributes[*key, level] = found
        if level == 0:
            for inner in range(1, SELF_READ_LIMIT):  # these lack what was not known yet
                self._attributes.pop((*key, inner), None)
        return found

    def _read_writes(self, name: str, frame: Frame) -> list[Alternative]:
        """What is written; a class that makes a trained scale has it, whatever strength comes later."""
        assert frame.self_class is not None
        made: list[Alternative] = []
        rescaled: list[Alternative] = []
        for write in self.project.writes(frame.self_class, name):
            found = rescaled if _is_rescaling(write) else made
            if write.event.sign:
                found.append(Alternative(UNKNOWN_VALUE))
                continue
            if is_empty_container(write.event.value):
                continue  # what it is filled with are other writes
            if is_initialisation(write.event.value) or (
                self.evaluator.for_map and makes_module(write.event.value)
            ):
                found.append(Alternative(Tensor()))
                continue
            self_class = frame.self_class if write.on_self else None
            found.extend(
                self.evaluator.values(write.event.value, self.evaluator.frame(write.function, self_class))
            )
        declared = self.project.class_attribute(frame.self_class, name)
        if declared is not None and declared[1] is not None:
            value = constant(declared[1].value) if isinstance(declared[1], Const) else UNKNOWN_VALUE
            made.append(Alternative(value))
        trained = [isinstance(a.value, Number) and a.value.scale.is_trained for a in made]
        kept = made if trained and all(trained) else [*made, *rescaled]
        return [replace(a, guards=()) for a in kept]


def _is_rescaling(write: AttributeWrite) -> bool:
    """Does the write change what an attribute holds already, by a strength or from outside the class?"""
    target = write.event.target
    while isinstance(target, Item):
        target = target.base
    name = target.name if isinstance(target, Attr) else ""
    return (
        not write.on_self
        or write.event.sign in ("*", "/")
        or _SETS_STRENGTH.fullmatch(write.function.facts.name) is not None
        or any(isinstance(part, Attr) and part.name == name for part in walk(write.event.value))
    )
