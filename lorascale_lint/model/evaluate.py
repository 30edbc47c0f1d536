"""Abstract evaluation of terms: from what code computes to what it means for a LoRA delta.

Calls of project functions are evaluated in place, parameters through their call sites, attributes
through their writes. Every way is bounded; past a bound the answer is `Unknown`, which no rule reports.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Literal

from lorascale_lint.facts.extract import dotted_name
from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Choice,
    Const,
    Element,
    Global,
    Guard,
    Item,
    Loc,
    Logic,
    Mapping as MappingTerm,
    Negative,
    Op,
    Opaque,
    Param,
    Sequence,
    Term,
    walk,
)
from lorascale_lint.model.adapter_keys import guarded_role
from lorascale_lint.model.bound_names import bound_sides
from lorascale_lint.model.containers import (
    comes_from_call,
    container_of,
    may_fold,
    new_value,
    zipped_source,
)
from lorascale_lint.model.factor_shapes import (
    is_empty_container,
    is_number,
    makes_module,
    module_side,
    registered_side,
)
from lorascale_lint.model.key_pattern import key_pattern
from lorascale_lint.model.key_tables import table_place, tabled_role
from lorascale_lint.model.learned_scalars import is_dropout_mask, is_learned_scalar, is_mean_of
from lorascale_lint.model.paired_keys import paired_sides
from lorascale_lint.model.parameter_shapes import factor_pair
from lorascale_lint.model.plain_multipliers import asks_for_alpha, is_plain_multiplier
from lorascale_lint.model.project import (
    AttributeWrite,
    Class,
    Function,
    Project,
    bound_arguments,
    is_initialisation,
    is_receiver,
    stored_values,
)
from lorascale_lint.model.scale import ALPHA, GATE, MULTIPLIER, ONE, RANK, SCALING, STRENGTH, UNKNOWN, Scale
from lorascale_lint.model.values import (
    ALTERNATIVE_LIMIT,
    UNKNOWN_VALUE,
    Alternative,
    Delta,
    Factor,
    Nothing,
    Number,
    Tensor,
    Through,
    Unknown,
    Value,
    contradict,
    distinct,
    folded_scale,
    kronecker,
    map_values,
    operate,
    power,
    product,
    scaled,
    through,
    transposed,
    unordered_product,
)
from lorascale_lint.model.vocabulary import (
    factor_side,
    has_lora_word,
    is_alpha_key,
    is_base_name,
    key_role,
    key_side,
    number_role,
)

VIA_LIMIT = 4
CALL_LIMIT = 6
DEPTH_LIMIT = 28
"""Nested calls, attributes and parameters followed from one term."""
SELF_READ_LIMIT = 2
"""How often writes of an attribute that read it themselves are followed."""

_KEEPS = frozenset(
    "to float half bfloat16 double cuda cpu npu type type_as contiguous detach clone data to_local "
    "full_tensor view reshape flatten squeeze unsqueeze expand requires_grad_ copy get item "
    "astype numpy resolve_conj weight default pin_memory chunk narrow index_select repeat "
    "repeat_interleave dequantize".split()
)
_TRANSPOSES = frozenset("T mT t transpose permute swapaxes".split())
_PRODUCTS = frozenset("mm matmul bmm dot linear conv2d kron einsum chain_matmul multi_dot".split())
_WRAPPERS = frozenset(
    "Parameter as_tensor tensor asarray array float int deepcopy clone_tensor FloatTensor cast".split()
)
_MAKERS = frozenset(
    "zeros ones empty randn rand normal full zeros_like ones_like empty_like randn_like rand_like "
    "linear conv2d conv1d conv3d embedding new_zeros new_ones new_empty new_full normal uniform "
    "truncated_normal create_parameter add_weight param".split()
)
_CONFIGURED_RANKS = frozenset(["r", "lora_rank", "lora_r"])
_CONFIGURED_ALPHAS = frozenset(["lora_alpha", "'lora_alpha'", '"lora_alpha"'])
_MID_MODULE = re.compile(r"lora_mid|mid")
_SCALE_ATTRIBUTE = re.compile(r"_?(lora_|adapter_)?(scale|scaling|gamma)")
_MULTIPLIES = frozenset(["mul", "mul_", "multiply", "multiply_"])
_DIVIDES = frozenset(["div", "div_", "divide", "divide_", "true_divide"])


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """Where a term is evaluated: its function, the class of ``self``, arguments if a call is known.

    ``entered`` are the functions whose calls led here: none is entered twice, so recursion ends.
    """

    function: Function
    self_class: Class | None
    arguments: dict[str, tuple[Term, Frame]] | None = None
    entered: tuple[Function, ...] = ()


@dataclass
class Evaluator:
    """Evaluates terms of one project; results are kept by term and frame."""

    project: Project
    for_map: bool = False
    """Is it `map` that asks? It names what rules take as unknown: ``scale=1.0``, learned scalars, masks."""
    _memo: dict[tuple[int, int], tuple[Alternative, ...]] = field(default_factory=dict)
    _active: set[tuple[int, int]] = field(default_factory=set)
    _frames: dict[tuple[int, int], Frame] = field(default_factory=dict)
    _calls: dict[tuple[object, ...], Frame] = field(default_factory=dict)
    _context: dict[int, bool] = field(default_factory=dict)
    _bound: dict[int, dict[Loc, str]] = field(default_factory=dict)
    _alive: list[object] = field(default_factory=list)
    _attributes: dict[tuple[int, str, int], list[Alternative]] = field(default_factory=dict)
    _reading: dict[tuple[int, str], int] = field(default_factory=dict)
    _factor_pairs: dict[int, dict[str, Literal["A", "B"]]] = field(default_factory=dict)
    _depth: int = 0

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
        self._alive.append((term, frame))
        return found

    def single(self, term: Term, frame: Frame) -> Value:
        """The value of ``term`` if it has only one, else `Unknown`."""
        found = {alternative.value for alternative in self.values(term, frame)}
        return found.pop() if len(found) == 1 else UNKNOWN_VALUE

    def is_trained_scale(self, method: Function) -> bool:
        """Does ``method`` return the trained scale (or 1 where there is none to apply)?"""
        found = self._returned(method, self.frame(method))
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

    # ---- dispatch ---------------------------------------------------------------------

    def _evaluate(self, term: Term, frame: Frame) -> tuple[Alternative, ...]:
        match term:
            case Const(value=value):
                return (Alternative(_constant(value)),)
            case Param():
                return self._param(term, frame)
            case Attr():
                return self._attribute(term, frame)
            case Item():
                return self._item(term, frame)
            case Global(name=name):
                return self._named(name, frame)
            case Op(sign=sign, left=left, right=right):
                if self.for_map and is_dropout_mask(term):
                    return (Alternative(Number(ONE)),)
                if self.for_map and sign == "/" and is_mean_of(right, left):
                    return self.values(left, frame)
                return self._combine(sign, left, right, frame)
            case Negative(operand=operand):
                minus = Scale(Fraction(-1))
                return tuple(replace(a, value=scaled(a.value, minus)) for a in self.values(operand, frame))
            case Choice(test=test, then=then, other=other):
                return self._choice(test, then, other, frame)
            case Logic(sign="or", left=left, right=right):
                either = (*self.values(left, frame), *self.values(right, frame))
                return _without_stand_in(either) if self.for_map else either
            case Call():
                return self._call(term, frame)
            case Element():
                stored = tuple(stored_values(term))
                if stored:
                    return tuple(a for option in stored for a in self.values(option, frame))
                return self._element(term.source, frame) or (Alternative(Tensor()),)
            case Sequence():
                return (Alternative(UNKNOWN_VALUE),)
            case _:
                return (Alternative(UNKNOWN_VALUE),)

    def _choice(self, test: Term | None, then: Term, other: Term, frame: Frame) -> tuple[Alternative, ...]:
        guarded: list[Alternative] = []
        for branch, holds in ((then, True), (other, False)):
            extra = () if test is None else (Guard(test, holds),)
            guarded.extend(replace(a, guards=(*extra, *a.guards)) for a in self.values(branch, frame))
        if self.for_map and test is not None and asks_for_alpha(test):
            return _without_stand_in(guarded)
        return tuple(guarded)

    def _combine(self, sign: str, left: Term, right: Term, frame: Frame) -> tuple[Alternative, ...]:
        return self._pairwise(lambda first, second: operate(sign, first, second), left, right, frame)

    # ---- names ------------------------------------------------------------------------

    def _named(self, name: str, frame: Frame) -> tuple[Alternative, ...]:
        context = self.in_lora_context(frame.function)
        return (Alternative(_by_name(name, context) or UNKNOWN_VALUE),)

    def _param(self, term: Param, frame: Frame) -> tuple[Alternative, ...]:
        function = frame.function
        context = self.in_lora_context(function)
        if term.function != function.facts.qualname:  # captured from an enclosing function
            return (Alternative(_by_name(term.name, context) or Tensor()),)
        named = _by_name(term.name, context)
        if isinstance(named, Number) and not self._is_multiplier(term.name, frame):
            return (Alternative(named),)
        if frame.arguments is not None:
            if term.name in frame.arguments:
                argument, outer = frame.arguments[term.name]
                return self.values(argument, outer)
            parameter = function.parameter(term.name)
            if parameter is not None and parameter.default is not None:
                return self.values(parameter.default, frame)
        elif self._is_multiplier(term.name, frame):
            strength = Number(Scale.of(STRENGTH))
            return (Alternative(strength if named == strength else Number(Scale.of(MULTIPLIER))),)
        folded = self._folded_by_callers(term, frame)
        base = named or Tensor(base=is_base_name(term.name))
        return tuple(Alternative(scaled(base, scale)) for scale in folded)

    def _is_multiplier(self, name: str, frame: Frame) -> bool:
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
        return tuple(scales) or (ONE,)

    # ---- attributes and items -----------------------------------------------------------

    def _attribute(self, term: Attr, frame: Frame) -> tuple[Alternative, ...]:
        name = term.name
        if name in _TRANSPOSES:
            return map_values(transposed, self.values(term.base, frame))
        context = self.in_lora_context(frame.function)
        if is_receiver(term.base, frame.function) and frame.self_class is not None:
            return self._own_attribute(name, frame)
        if name == "weight" and isinstance(term.base, Attr | Item | Call | Param | Global):
            inner = self.values(term.base, frame)
            if any(isinstance(a.value, Factor) for a in inner):
                return inner
        named = _by_name(name, context)
        if named is not None:
            return (Alternative(named),)
        if name in _KEEPS and name not in ("weight", "get"):
            return self.values(term.base, frame)
        if is_base_name(name):
            return (Alternative(Tensor(base=True)),)
        return (Alternative(UNKNOWN_VALUE),)

    def _own_attribute(self, name: str, frame: Frame) -> tuple[Alternative, ...]:
        """``self.name``: a property's result, what the class writes to it, or what the name says."""
        assert frame.self_class is not None
        method = self.project.method(frame.self_class, name)
        if method is not None and any(
            decorator.rpartition(".")[2] in ("property", "cached_property")
            for decorator in method.facts.decorators
        ):
            return self._returned(method, self._call_frame(method, frame.self_class, {}))
        if self.for_map and is_learned_scalar(self.project, frame.self_class, name):
            return (Alternative(Number(Scale.of(GATE))),)
        context = self.in_lora_context(frame.function) or has_lora_word([frame.self_class.name])
        named = _by_name(name, context)
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
                computed = [a for a in written if isinstance(a.value, Number) and _is_computed(a.value.scale)]
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
            module_side(self, write.event.value, self.frame(write.function, frame.self_class))
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
                    pair = self._factor_pairs[id(frame.self_class)] = factor_pair(self, frame.self_class)
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
        if self.for_map and any(
            isinstance(write.event.value, Param)
            and self._is_multiplier(write.event.value.name, self.frame(write.function))
            for write in writes
        ):
            return None  # what is written says so
        return Number(Scale.of(SCALING)) if taken and all(taken) else None

    def _is_rescaled(self, name: str, factor: Factor, frame: Frame) -> bool:
        """May some code have multiplied a scale into the factor?"""
        if not self.for_map:
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
            if is_initialisation(write.event.value) or (self.for_map and makes_module(write.event.value)):
                found.append(Alternative(Tensor()))
                continue
            self_class = frame.self_class if write.on_self else None
            found.extend(self.values(write.event.value, self.frame(write.function, self_class)))
        declared = self.project.class_attribute(frame.self_class, name)
        if declared is not None and declared[1] is not None:
            value = _constant(declared[1].value) if isinstance(declared[1], Const) else UNKNOWN_VALUE
            made.append(Alternative(value))
        trained = [isinstance(a.value, Number) and a.value.scale.is_trained for a in made]
        kept = made if trained and all(trained) else [*made, *rescaled]
        return [replace(a, guards=()) for a in kept]

    def _item(self, term: Item, frame: Frame) -> tuple[Alternative, ...]:
        base = term.base
        if isinstance(base, Attr) and base.name in ("shape", "size"):
            return (Alternative(self._extent(base.base, frame)),)
        if isinstance(base, Call) and isinstance(base.func, Attr) and base.func.name in ("size", "shape"):
            return (Alternative(self._extent(base.func.base, frame)),)
        stored = tuple(stored_values(term))
        if stored:
            return tuple(a for option in stored for a in self.values(option, frame))
        zipped = zipped_source(term)
        if zipped is not None:
            found = self._element(zipped, frame)
            if found:
                return found
        key = key_pattern(term.key)
        side = key_side(key) or self._bound_side(term, frame)
        tabled = None if side is not None else self._tabled_role(term.key, frame)
        side = tabled if tabled in ("A", "B") else side
        if side is None and (is_alpha_key(key) or tabled == "alpha") and self.in_lora_context(frame.function):
            role = Scale.of(SCALING if key.endswith("_scale") else ALPHA)
            return tuple(Alternative(Number(role * scale)) for scale in self._folded(term, frame))
        if key in _CONFIGURED_RANKS and _CONFIGURED_ALPHAS & frame.function.facts.words:
            return (Alternative(Number(Scale.of(RANK))),)  # `config["r"]` beside `config["lora_alpha"]`
        if side in ("A", "B"):
            return tuple(
                Alternative(Factor("A" if side == "A" else "B", scale)) for scale in self._folded(term, frame)
            )
        if isinstance(base, Choice):
            return self._choice(
                base.test, Item(base.then, term.key, term.loc), Item(base.other, term.key, term.loc), frame
            )
        part = self._returned_part(base, term.key, frame) if isinstance(base, Call) else None
        if part is not None:
            return part
        inner = self.values(base, frame)
        if any(isinstance(a.value, Factor | Number | Delta | Through) for a in inner):
            return inner
        opaque = comes_from_call(base)
        return tuple(Alternative(Tensor(scale, opaque=opaque)) for scale in self._folded(term, frame))

    def _element(self, source: Term, frame: Frame) -> tuple[Alternative, ...]:
        """An element of a list of factors (``self.lora_A_weights``), as it was appended; only for `map`."""
        if not self.for_map or not isinstance(source, Attr):
            return ()
        side = factor_side(source.name, False)
        if side is None:
            return ()
        scales: dict[Scale, None] = {}
        for caller, value in self.project.appended(source.name):
            for alternative in self.values(value, self.frame(caller)):
                scale = folded_scale(alternative.value)
                scales[UNKNOWN if scale is None else scale] = None
        factor = Factor("A" if side == "A" else "B")
        return tuple(Alternative(scaled(factor, scale)) for scale in scales or (UNKNOWN,))

    def _bound_side(self, term: Item | Call, frame: Frame) -> str | None:
        """The factor that a lookup gives by the name of its local, where the key does not tell."""
        known = self._bound.get(id(frame.function))
        if known is None:
            known = self._bound[id(frame.function)] = {
                **paired_sides(frame.function),
                **bound_sides(frame.function),
            }
        return known.get(term.loc)

    def _tabled_role(self, key: Term, frame: Frame) -> str | None:
        """What a key names that is kept in a table of keys, here or in what a project function returns."""
        place = table_place(key)
        if place is None:
            return None
        table, position = place
        return tabled_role([value for _, value, *_ in self._stored(table, frame)], position)

    def _returned_part(self, call: Call, key: Term, frame: Frame) -> tuple[Alternative, ...] | None:
        """``f(...)[i]`` for a project function that returns tuples."""
        index = key.value if isinstance(key, Const) else None
        if not isinstance(index, int):
            return None
        found: list[Alternative] = []
        for function, inner in self.entered(call, frame) or ():
            for event in function.events("return"):
                if isinstance(event.value, Sequence) and index < len(event.value.items):
                    found.extend(self.values(event.value.items[index], inner))
                elif not (isinstance(event.value, Const) and event.value.value is None):
                    found.append(Alternative(Tensor(opaque=True)))
        return tuple(found) or None

    def _folded(self, term: Item, frame: Frame) -> tuple[Scale, ...]:
        """Scales multiplied into the tensors that were stored in the container of an item."""
        scales: dict[Scale, None] = {}
        wanted = key_role(key_pattern(term.key))
        for key, value, asked, inner in self._stored(container_of(term), frame):
            stored = key_role(key_pattern(key)) or asked
            if wanted is not None and stored is not None and stored != wanted:
                continue
            if isinstance(value, Opaque):  # rescaled where it is stored
                scales[UNKNOWN] = None
                continue
            for alternative in self.values(value, inner):
                scale = folded_scale(alternative.value)
                if scale is not None:
                    scales[scale] = None
                elif isinstance(alternative.value, Unknown) and may_fold(value):
                    scales[UNKNOWN] = None
        if self.for_map and not scales and comes_from_call(term.base):
            return (UNKNOWN,)
        return tuple(scales) or (ONE,)

    def _stored(self, container: Term, frame: Frame) -> Iterator[tuple[Term, Term, str | None, Frame]]:
        """Keys and values stored in ``self.container`` anywhere, or in a local dictionary here.

        With them goes the role that the code has asked for, where the key itself shows none.
        """
        if isinstance(container, Attr) and is_receiver(container.base, frame.function) and frame.self_class:
            for write in self.project.writes(frame.self_class, container.name):
                if isinstance(write.event.target, Item):
                    event = write.event
                    asked = guarded_role(event.guards)
                    yield write.event.target.key, new_value(event), asked, self.frame(write.function)
        elif isinstance(container, Call | MappingTerm):
            for event in frame.function.events("write"):
                target = event.target
                if isinstance(target, Item) and container_of(target).loc == container.loc:
                    yield target.key, new_value(event), guarded_role(event.guards), frame
            for function, inner in self._makers(container, frame):
                for event in function.events("return"):
                    if isinstance(event.value, Call | MappingTerm) and event.value is not container:
                        yield from self._stored(event.value, inner)

    def _makers(self, container: Term, frame: Frame) -> list[tuple[Function, Frame]]:
        """The project functions that make ``container``."""
        return self.entered(container, frame) or [] if isinstance(container, Call) else []

    def _extent(self, tensor: Term, frame: Frame) -> Value:
        """``tensor.shape[i]``: the rank if the tensor is a factor (no other extent is a divisor)."""
        factor = any(isinstance(a.value, Factor) for a in self.values(tensor, frame))
        return Number(Scale.of(RANK) if factor else UNKNOWN)

    def is_low_rank_sequence(self, module: Term, frame: Frame) -> bool:
        """Is ``self.lora`` made as both factors in sequence: ``Sequential(Linear(n, r), Linear(r, m))``?"""
        if not (isinstance(module, Attr) and frame.self_class and is_receiver(module.base, frame.function)):
            return False
        if not self.in_lora_context(frame.function) or self.project.method(frame.self_class, module.name):
            return False
        writes = self.project.writes(frame.self_class, module.name)
        return bool(writes) and all(
            module_side(self, write.event.value, self.frame(write.function, frame.self_class)) == "delta"
            for write in writes
        )

    # ---- calls --------------------------------------------------------------------------

    def _call(self, term: Call, frame: Frame) -> tuple[Alternative, ...]:
        func = term.func
        name = func.name if isinstance(func, Attr | Global) else ""
        receiver = func.base if isinstance(func, Attr) else None
        library = receiver is None or _is_library(self.project.absolute_name(frame.function, func))
        operands = term.args if library or receiver is None else (receiver, *term.args)
        if name in _PRODUCTS and len(operands) >= 2:
            return self._product_call(name, operands, frame)
        if name == "embedding" and library and len(operands) >= 2:  # rows of the weight: one-hot @ weight
            return self._pairwise(product, operands[0], operands[1], frame)
        if name in _MULTIPLIES and len(operands) == 2:
            return self._combine("*", operands[0], operands[1], frame)
        if name in _DIVIDES and len(operands) == 2:
            return self._combine("/", operands[0], operands[1], frame)
        if name == "sqrt" and len(operands) == 1:
            return map_values(lambda v: power(v, Fraction(1, 2)), self.values(operands[0], frame))
        if name in _TRANSPOSES and operands:
            return map_values(transposed, self.values(operands[0], frame))
        if name == "getattr" and len(term.args) >= 2 and isinstance(term.args[1], Const):
            return self.values(Attr(term.args[0], str(term.args[1].value), term.loc), frame)
        if name in ("size",) and receiver is not None:
            return (Alternative(self._extent(receiver, frame)),)
        followed = self._project_call(term, frame)
        if followed is not None:
            return followed
        keyed = name in ("pop", "get_tensor") and bool(term.args)
        keyed = keyed and bool(key_role(key_pattern(term.args[0])) or self._bound_side(term, frame))
        if (name == "get" or keyed) and receiver is not None and term.args:
            return self._item(Item(receiver, term.args[0], term.loc), frame)
        if name in _WRAPPERS and term.args:
            return self.values(term.args[0], frame)
        if name in _KEEPS and receiver is not None:
            return self.values(receiver, frame)
        if name in ("cat", "concat", "stack", "concatenate") and term.args:
            return self._joined(term.args[0], frame)
        return self._module_call(term, frame)

    def _product_call(self, name: str, operands: tuple[Term, ...], frame: Frame) -> tuple[Alternative, ...]:
        if name == "linear":
            return self._pairwise(lambda x, w: product(x, transposed(w)), operands[0], operands[1], frame)
        if name == "kron":
            return self._pairwise(kronecker, operands[0], operands[1], frame)
        if name in ("einsum", "conv2d"):
            first, second = operands[-2:] if name == "einsum" else operands[:2]
            return self._pairwise(unordered_product, first, second, frame)
        return self._pairwise(product, operands[0], operands[1], frame)

    def _pairwise(
        self, combine: Callable[[Value, Value], Value], left: Term, right: Term, frame: Frame
    ) -> tuple[Alternative, ...]:
        return tuple(
            Alternative(
                combine(first.value, second.value),
                (*first.guards, *second.guards),
                (*first.via, *second.via)[:VIA_LIMIT],
            )
            for first in self.values(left, frame)
            for second in self.values(right, frame)
            if not contradict(first.guards, second.guards)
        )[: ALTERNATIVE_LIMIT * 2] or (Alternative(UNKNOWN_VALUE),)

    def _project_call(self, term: Call, frame: Frame) -> tuple[Alternative, ...] | None:
        """Values returned by the project functions that ``term`` calls; None if it calls none."""
        entered = self.entered(term, frame)
        if entered is None:
            return None
        return tuple(a for function, inner in entered for a in self._returned(function, inner))

    def entered(self, term: Call, frame: Frame) -> list[tuple[Function, Frame]] | None:
        """The project functions that ``term`` calls, each with the frame of this call."""
        self_class = frame.self_class
        if len(frame.entered) >= CALL_LIMIT:  # each call has its own frame: work grows with each level
            return None
        callees = self.project.callees(term.func, frame.function, self_class)
        functions = [item for item in callees if isinstance(item, Function)]
        if not functions or len(functions) != len(callees) or term.spread:
            return None
        same_object = isinstance(term.func, Attr) and is_receiver(term.func.base, frame.function)
        if isinstance(term.func, Attr) and self_class is not None:  # `self.lora(x)` runs another object's
            same_object = same_object and self.project.method(self_class, term.func.name) is not None
        if same_object and isinstance(term.func, Attr) and self_class is not None:
            functions = list(self.project.overrides(self_class, term.func.name)) or functions
        if not all(map(is_undecorated, functions)):
            return None
        entered = (*frame.entered, frame.function)
        if any(function in entered for function in functions):
            return None
        found: list[tuple[Function, Frame]] = []
        for function in functions:
            bound = bound_arguments(term, function)
            arguments = {name: (argument, frame) for name, argument in bound.items()}
            owner = self_class if same_object else function.owner
            found.append((function, self._call_frame(function, owner, arguments, entered)))
        return found

    def _call_frame(
        self,
        function: Function,
        owner: Class | None,
        arguments: dict[str, tuple[Term, Frame]],
        entered: tuple[Function, ...] = (),
    ) -> Frame:
        """One frame for all calls with the same arguments: helpers that call helpers stay linear work."""
        arguments = {name: _origin(term, frame) for name, (term, frame) in arguments.items()}
        given = ((name, id(term), id(frame)) for name, (term, frame) in sorted(arguments.items()))
        key = (id(function), id(owner), len(entered), *given)
        if key not in self._calls:
            self._calls[key] = Frame(function, owner, arguments, entered)
            self._alive.append(tuple(arguments.values()))
        return self._calls[key]

    def is_library_call(self, call: Call, frame: Frame) -> bool:
        """Is ``call`` one of a tensor library's functions, and not a method of a tensor?"""
        return _is_library(self.project.absolute_name(frame.function, call.func))

    def _returned(self, function: Function, frame: Frame) -> tuple[Alternative, ...]:
        """Values of the return statements of ``function`` in ``frame``."""
        found = [
            replace(
                alternative,
                guards=(*event.guards[-2:], *alternative.guards),
                via=((function, event.loc), *alternative.via)[:VIA_LIMIT],
            )
            for event in function.events("return")
            for alternative in self.values(event.value, frame)
        ]
        return tuple(found) or (Alternative(UNKNOWN_VALUE),)

    def _joined(self, term: Term, frame: Frame) -> tuple[Alternative, ...]:
        items = term.items if isinstance(term, Sequence) else stored_values(Element(term, term.loc))
        found = tuple(a for item in items for a in self.values(item, frame))
        return found or (Alternative(Tensor()),)

    def _module_call(self, term: Call, frame: Frame) -> tuple[Alternative, ...]:
        """A call of a factor module (``self.lora_down(x)``), of dropout, or of something unknown."""
        callee = self.values(term.func, frame)
        factors = [a for a in callee if isinstance(a.value, Factor)]
        if factors and term.args:
            return tuple(
                Alternative(through(module.value, argument.value), (*module.guards, *argument.guards))
                for module in factors
                for argument in self.values(term.args[0], frame)
                if isinstance(module.value, Factor)
            )
        if term.args and self.is_low_rank_sequence(term.func, frame):
            inputs = self.values(term.args[0], frame)
            scales = {a.value.scale if isinstance(a.value, Tensor) else ONE for a in inputs}
            return tuple(Alternative(Delta(scale, "activation")) for scale in scales)
        name = dotted_name(term.func).lower() or getattr(term.func, "name", "").lower()
        arguments = [self.single(argument, frame) for argument in term.args]
        if "dropout" in name and arguments:
            return self.values(term.args[0], frame)
        if len(arguments) == 1 and _MID_MODULE.fullmatch(getattr(term.func, "name", "")):
            return self.values(term.args[0], frame)  # a Tucker core between the factors has no scale
        if any(isinstance(value, Factor | Through | Delta) for value in arguments):
            return (Alternative(UNKNOWN_VALUE),)
        if any(isinstance(value, Number) and _is_computed(value.scale) for value in arguments):
            return (Alternative(UNKNOWN_VALUE),)
        registered = registered_side(term)
        if registered is not None:
            return (Alternative(Factor("A" if registered == "A" else "B")),)
        takes_tensor = any(isinstance(value, Tensor) for value in arguments) or isinstance(term.func, Attr)
        last = name.rpartition(".")[2]
        opaque = takes_tensor and last not in _MAKERS
        return (Alternative(Tensor(opaque=opaque, zero=last in ("zeros", "zeros_like"))),)


# ---- pure helpers -------------------------------------------------------------------------


def _constant(value: None | bool | int | float | str) -> Value:
    if value is None:
        return Nothing()
    if isinstance(value, bool | str):
        return UNKNOWN_VALUE
    try:
        return Number(Scale(Fraction(str(value))))
    except ValueError:  # inf, nan
        return Number(UNKNOWN)


def _by_name(name: str, context: bool) -> Value | None:
    role = number_role(name, context)
    if role is not None:
        return Number(Scale.of(role))
    side = factor_side(name, context)
    if side is not None:
        return Factor("A" if side == "A" else "B")
    return None


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


def is_undecorated(function: Function) -> bool:
    """Does a caller of ``function`` get what its body returns?"""
    return all(map(_is_transparent, function.facts.decorators))


def _is_transparent(decorator: str) -> bool:
    """Does a decorator leave alone what a function returns?"""
    return _TRANSPARENT.search(decorator) is not None


_TRANSPARENT = re.compile(
    r"(^|\.)(staticmethod|classmethod|property|cached_property|abstractmethod|override|overload|no_grad|"
    r"inference_mode|enable_grad|compile|jit|script|cache|lru_cache|torch_dynamo|wraps|autocast|disable|"
    r"ignore|unused|export|allow_in_graph|contextmanager|mx\.compile|nn\.compact|compact|profile)\b"
)


def _is_computed(scale: Scale) -> bool:
    """Is this more than a bare role such as ``alpha`` (which a name says as well), 1 or a literal?"""
    return not scale.known or len(scale.powers) > 1 or scale.power(STRENGTH) != 0


def _is_library(name: str) -> bool:
    return name.partition(".")[0] in {
        "torch",
        "jax",
        "jnp",
        "numpy",
        "np",
        "mx",
        "mlx",
        "F",
        "keras",
        "math",
        "ops",
    }


def _origin(term: Term, frame: Frame) -> tuple[Term, Frame]:
    """Where an argument that is only passed on was first given."""
    while (
        isinstance(term, Param)
        and term.function == frame.function.facts.qualname
        and frame.arguments is not None
        and term.name in frame.arguments
    ):
        term, frame = frame.arguments[term.name]
    return term, frame


_SETS_STRENGTH = re.compile(r"(?i)_*((un|re|set_)*(scale|strength|multiplier|weight))(_.*)?")


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
