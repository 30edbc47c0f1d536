"""DoRA: what is divided by which norm, and on which side of it the trained scale and the strength stand.

The reference is ``m * (W + s * B @ A) / norm(W + s * B @ A)``, interpolated by the person's strength as
``W + strength * (that - W)``. A term is read as a sum of the base weight and the delta, with marks for
the scalars that were multiplied on; what is none of this is None, and no rule speaks of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Choice,
    Const,
    Global,
    Item,
    Loc,
    Logic,
    Negative,
    Op,
    Opaque,
    Param,
    Sequence,
    Term,
)
from lorascale_lint.model.evaluate import Evaluator
from lorascale_lint.model.frames import Frame
from lorascale_lint.model.project import Function, bound_arguments, is_receiver, is_test_file
from lorascale_lint.model.scale import ALPHA, SCALING, STRENGTH
from lorascale_lint.model.values import Delta, Number, Tensor
from lorascale_lint.model.vocabulary import number_role

FORM_LIMIT = 8
DEPTH_LIMIT = 60
SITE_LIMIT = 8

_DORA_WORD = re.compile(r"(?i)dora|magnitude|weight_decomp|decompose")
_MAGNITUDE = re.compile(
    r"(?i)_?(dora_?(scale|weight|m|mag\w*|vec\w*)?|\w*magnitudes?(_vec\w*)?|mag(_vec\w*)?|m|weight_m|wd_scale)"
)
_BASE = re.compile(
    r"(?i)_?((org\w*|orig\w*|base|base_layer|frozen|old|pretrained|init|model|linear|dense|cur\w*|local)_)?"
    r"(weights?|w|w_?0|kernel)(_?(org|orig|data|base|0|fp32))?|base|base_layer|org_module|original"
)
_DELTA = re.compile(
    r"(?i)_?(lora|adapter|low_rank)?_?(diff|delta|updown|update|rebuild|diff_weight|weight_diff|weight_delta|"
    r"delta_weight|delta_w|dw|ba)|_?lora_(weight|product|mat)|_?merged_lora"
)
_DELTA_CALL = re.compile(r"(?i)(diff|delta)(_w|_weight)?$|updown|make_kron|loha|lokr|rebuild|make_weight")
_STRENGTH = re.compile(
    r"(?i)_?((lora|adapter|user|unet|te|network|model|clip)_)?(strength|multiplier)(_\w+)?"
)
_NORMS = frozenset(["norm", "vector_norm", "matrix_norm"])
_AVERAGES = frozenset(["mean", "sum", "std", "var", "median", "max", "amax", "logsumexp"])
_KEEPS = frozenset(
    "to float half bfloat16 double cuda cpu type type_as contiguous detach clone data view reshape flatten "
    "squeeze unsqueeze expand expand_as transpose permute swapaxes T mT t astype stop_gradient copy tensor "
    "as_tensor Parameter clamp clamp_min clamp_ clip maximum full_tensor to_local requires_grad_ "
    "broadcast_to cast_to_device cast abs add_eps get_parameter dequantize dequantize_weight".split()
)
_TIMES = frozenset("mul mul_ multiply multiply_".split())
_DIVIDES = frozenset("div div_ divide divide_ true_divide".split())
_ADDS = frozenset("add add_".split())
_SUBTRACTS = frozenset("sub sub_ subtract".split())


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands, for a trace."""

    function: Function
    loc: Loc


@dataclass(frozen=True, slots=True)
class Marks:
    """The scalars multiplied onto something: where the strength and the trained scale came on.

    ``unknown`` says that there may be more.
    """

    strength: Place | None = None
    trained: Place | None = None
    unknown: bool = False

    def __or__(self, other: Marks) -> Marks:
        return Marks(
            self.strength or other.strength, self.trained or other.trained, self.unknown or other.unknown
        )


@dataclass(frozen=True, slots=True)
class Scalar:
    """A number; a plain literal has no marks."""

    marks: Marks = Marks()


@dataclass(frozen=True, slots=True)
class Magnitude:
    """The learned length of each row or column, as stored."""


@dataclass(frozen=True, slots=True)
class Mix:
    """``base weight + marks * delta``, either part of which may be absent; ``summed`` where they met."""

    base: bool = False
    delta: bool = False
    marks: Marks = Marks()
    summed: Place | None = None
    magnitude: bool = False


@dataclass(frozen=True, slots=True)
class Norm:
    """A length of a weight: ``how`` is ``norm`` or the statistic that stands in its place."""

    of: Mix
    how: str
    place: Place
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Ratio:
    """``magnitude / norm``; ``interpolated`` if a strength stands on it."""

    norm: Norm
    magnitude: bool
    interpolated: bool = False


@dataclass(frozen=True, slots=True)
class Decomposed:
    """``magnitude * mix / norm``, less the base if ``without_base``; ``outer`` scalars on all of it."""

    mix: Mix
    norm: Norm
    magnitude: bool
    without_base: bool = False
    interpolated: bool = False
    outer: Marks = Marks()


Form: TypeAlias = Scalar | Magnitude | Mix | Norm | Ratio | Decomposed | None


@dataclass
class WeightNorms:
    """Reads terms as forms; one per model, results are kept by term and frame."""

    evaluator: Evaluator
    _memo: dict[tuple[int, int], tuple[Form, ...]] = field(default_factory=dict)
    _alive: list[object] = field(default_factory=list)
    _active: set[tuple[int, int]] = field(default_factory=set)
    _callers: set[Function] = field(default_factory=set)
    _names: dict[int, dict[int, str]] = field(default_factory=dict)

    def speaks_of_dora(self, function: Function) -> bool:
        """Is there a word of DoRA in the function or in the name of its class?"""
        words = (function.facts.qualname, *function.facts.words)
        return any(_DORA_WORD.search(word) for word in words) and not is_test_file(function.filename)

    def forms(self, term: Term, frame: Frame) -> tuple[Form, ...]:
        """What ``term`` may be; at least one."""
        key = (id(term), id(frame))
        known = self._memo.get(key)
        if known is not None:
            return known
        if key in self._active or len(self._active) > DEPTH_LIMIT:
            return (None,)
        self._active.add(key)
        found = tuple(dict.fromkeys(self._read(term, frame)))[: FORM_LIMIT + 1]
        self._active.discard(key)
        kept = found if 0 < len(found) <= FORM_LIMIT else (None,)
        self._memo[key] = kept
        self._alive.append((term, frame))
        return kept

    # ---- terms --------------------------------------------------------------------------

    def _read(self, term: Term, frame: Frame) -> tuple[Form, ...]:
        match term:
            case Const(value=bool() | str()) | Opaque():
                return (None,)
            case Const(value=value):
                return (None if value is None else Scalar(),)
            case Choice(then=then, other=other) | Logic(sign="or", left=then, right=other):
                return (*self.forms(then, frame), *self.forms(other, frame))
            case Negative(operand=operand):
                return self.forms(operand, frame)
            case Op(sign="@"):
                return self._product(term, frame)
            case Op(sign=("+" | "-" | "*" | "/") as sign, left=left, right=right):
                return self._pairs(sign, left, right, term, frame)
            case Param():
                return self._parameter(term, frame)
            case Attr():
                return self._attribute(term, frame)
            case Global(name=name):
                return (self._named(name, term, frame),)
            case Item():
                return self._item(term, frame)
            case Call():
                return self._call(term, frame)
            case _:
                return (None,)

    def _pairs(self, sign: str, left: Term, right: Term, term: Term, frame: Frame) -> tuple[Form, ...]:
        place = Place(frame.function, term.loc)
        return tuple(
            _combine(sign, first, second, place)
            for first in self.forms(left, frame)
            for second in self.forms(right, frame)
        )

    def _product(self, term: Term, frame: Frame) -> tuple[Form, ...]:
        found: list[Form] = []
        for alternative in self.evaluator.values(term, frame):
            value = alternative.value
            if isinstance(value, Delta) and value.layout != "activation":
                scale, place = value.scale, Place(frame.function, term.loc)
                strength = place if scale.known and scale.power(STRENGTH) else None
                trained = place if scale.known and scale.without(STRENGTH).powers else None
                found.append(Mix(delta=True, marks=Marks(strength, trained, not scale.known)))
            else:
                found.append(None)
        return tuple(found)

    def _named(self, name: str, term: Term, frame: Frame) -> Form:
        place = Place(frame.function, term.loc)
        if _STRENGTH.fullmatch(name):
            return Scalar(Marks(strength=place))
        if _MAGNITUDE.fullmatch(name):
            return Magnitude()
        for alternative in self.evaluator.values(term, frame):
            value = alternative.value
            if isinstance(value, Number):
                return Scalar(_marks(value, place))
            if isinstance(value, Tensor) and value.base:
                return Mix(base=True)
        if _DELTA.fullmatch(name):
            return Mix(delta=True)
        if _BASE.fullmatch(name):
            return Mix(base=True)
        return Scalar(Marks(unknown=True)) if re.fullmatch(r"(?i)\w*scal(e|ing)\w*", name) else None

    def _parameter(self, term: Param, frame: Frame) -> tuple[Form, ...]:
        if term.function == frame.function.facts.qualname:
            given = (frame.arguments or {}).get(term.name)
            if given is not None:
                return self.forms(given[0], given[1])
            parameter = frame.function.parameter(term.name)
            if frame.arguments is not None and parameter is not None and parameter.default is not None:
                return self.forms(parameter.default, frame)
            if frame.arguments is None and not _MAGNITUDE.fullmatch(term.name):
                found = self._from_callers(term, frame)
                if found:
                    return found
        return (self._named(term.name, term, frame),)

    def _from_callers(self, term: Param, frame: Frame) -> tuple[Form, ...]:
        """What callers give the parameter, as far as it is understood."""
        function = frame.function
        if function in self._callers:
            return ()
        self._callers.add(function)
        found: list[Form] = []
        for site in self.evaluator.project.call_sites(function)[:SITE_LIMIT]:
            argument = bound_arguments(site.call, function).get(term.name)
            if argument is not None:
                found.extend(self.forms(argument, self.evaluator.frame(site.caller)))
        self._callers.discard(function)
        return tuple(form for form in found if isinstance(form, Mix | Scalar))

    def _attribute(self, term: Attr, frame: Frame) -> tuple[Form, ...]:
        if term.name in _KEEPS:
            return self.forms(term.base, frame)
        if is_receiver(term.base, frame.function) and frame.self_class is not None:
            method = self.evaluator.project.method(frame.self_class, term.name)
            if method is not None and any("property" in name for name in method.facts.decorators):
                return self._returned(method, Frame(method, frame.self_class, {}), None)
        return (self._named(term.name, term, frame),)

    def _item(self, term: Item, frame: Frame) -> tuple[Form, ...]:
        if isinstance(term.base, Call):
            index = term.key.value if isinstance(term.key, Const) else None
            if isinstance(index, int):
                found = self._entered(term.base, frame, index)
                if found:
                    return found
        if isinstance(term.key, Const) and isinstance(term.key.value, str):
            return (self._named(term.key.value.rpartition(".")[2], term, frame),)
        kept = [f for f in self.forms(term.base, frame) if isinstance(f, Magnitude | Mix | Ratio | Norm)]
        return tuple(kept) or (self._unpacked(term, frame),)

    def _unpacked(self, term: Item, frame: Frame) -> Form:
        """A part of something unknown, by the name that it is bound to: ``up, down, alpha = params``."""
        names = self._bound_names(frame.function)
        name = names.get(id(term))
        if name is None:
            return None
        role = number_role(name, lora_context=True)  # only code that speaks of DoRA asks
        if role in (ALPHA, SCALING):
            return Scalar(Marks(trained=Place(frame.function, term.loc)))
        return self._named(name, term, frame)

    def _bound_names(self, function: Function) -> dict[int, str]:
        known = self._names.get(id(function))
        if known is None:
            known = {id(event.value): event.name for event in function.events("bind")}
            self._names[id(function)] = known
        return known

    # ---- calls --------------------------------------------------------------------------

    def _call(self, term: Call, frame: Frame) -> tuple[Form, ...]:
        func = term.func
        name = func.name if isinstance(func, Attr | Global) else ""
        library = self.evaluator.calls.is_library_call(term, frame)
        receiver = func.base if isinstance(func, Attr) and not library else None
        operands = term.args if receiver is None else (receiver, *term.args)
        if name in _NORMS or (name in _AVERAGES and receiver is not None) or (name in _AVERAGES and library):
            return self._norm(name, term, operands, frame)
        if name == "normalize" and operands:
            place = Place(frame.function, term.loc)
            return tuple(
                Decomposed(form, Norm(form, "norm", place), False) if isinstance(form, Mix) else None
                for form in self.forms(operands[0], frame)
            )
        for names, sign in ((_TIMES, "*"), (_DIVIDES, "/"), (_ADDS, "+"), (_SUBTRACTS, "-")):
            if name in names and len(operands) == 2:
                given = dict(term.keywords).get("alpha")
                right = operands[1] if given is None else Op("*", operands[1], given, term.loc)
                return self._pairs(sign, operands[0], right, term, frame)
        if name in ("mm", "matmul", "bmm", "kron", "addmm"):
            return self._product(term, frame)
        found = self._entered(term, frame, None)
        if found:
            return found
        if name in _KEEPS and operands:
            return self.forms(operands[0], frame)
        if _DELTA_CALL.search(name):
            return (Mix(delta=True, marks=Marks(unknown=True)),)
        if not term.args and not term.keywords and _STRENGTH.fullmatch(name):
            return (Scalar(Marks(strength=Place(frame.function, term.loc))),)
        if name.endswith("weight") and not term.args and name.startswith(("_current", "get_base", "current")):
            return (Mix(base=True),)
        return (None,)

    def _norm(self, name: str, term: Call, operands: tuple[Term, ...], frame: Frame) -> tuple[Form, ...]:
        if not operands:
            return (None,)
        place = Place(frame.function, term.loc)
        whole = len(operands) == 1 and not term.keywords and not term.spread
        found: list[Form] = []
        for form in self.forms(operands[0], frame):
            if isinstance(form, Mix):
                found.append(Norm(form, "norm" if name in _NORMS else name, place, whole))
            else:
                found.append(None)
        return tuple(found)

    def _entered(self, call: Call, frame: Frame, index: int | None) -> tuple[Form, ...]:
        """What the project functions that are called return, its part ``index`` if one is taken."""
        entered = self.evaluator.calls.entered(call, frame)
        found: list[Form] = []
        for function, inner in entered or ():
            found.extend(self._returned(function, inner, index))
        if (
            found
            and all(form is None for form in found)
            and _DELTA_CALL.search(getattr(call.func, "name", ""))
        ):
            return (Mix(delta=True, marks=Marks(unknown=True)),)
        return tuple(found)

    def _returned(self, function: Function, frame: Frame, index: int | None) -> tuple[Form, ...]:
        self._alive.append(frame)
        found: list[Form] = []
        for event in function.events("return"):
            value = event.value
            if isinstance(value, Sequence) and len(value.items) > (index or 0):
                value = value.items[index or 0]
            found.extend(self.forms(value, frame))
        return tuple(found)


# ---- the algebra of forms -----------------------------------------------------------------


def _marks(number: Number, place: Place) -> Marks:
    scale = number.scale
    if not scale.known:
        return Marks(unknown=True)
    trained = place if scale.without(STRENGTH).powers else None
    return Marks(place if scale.power(STRENGTH) else None, trained)


def _combine(sign: str, left: Form, right: Form, place: Place) -> Form:
    if sign == "+":
        return _sum(left, right, place)
    if sign == "-":
        return _difference(left, right)
    if sign == "/":
        return _quotient(left, right)
    return _times(left, right) or _times(right, left)


def _sum(left: Form, right: Form, place: Place) -> Form:
    match left, right:
        case Mix(magnitude=False), Mix(magnitude=False) if left.base != right.base or not left.base:
            both = (left.base or right.base) and (left.delta or right.delta)
            return Mix(
                left.base or right.base,
                left.delta or right.delta,
                left.marks | right.marks,
                left.summed or right.summed or (place if both else None),
            )
        case (Norm() as norm, _) | (_, Norm() as norm):
            return norm
        case (Decomposed(without_base=True) as whole, Mix(base=True, delta=False)) | (
            Mix(base=True, delta=False),
            Decomposed(without_base=True) as whole,
        ):
            return replace(whole, without_base=False, interpolated=True)
        case (Ratio() as ratio, Scalar()) | (Scalar(), Ratio() as ratio):
            return ratio
        case Scalar(), Scalar():
            return Scalar(left.marks | right.marks)
        case _:
            return None


def _difference(left: Form, right: Form) -> Form:
    match left, right:
        case Decomposed(), Mix(base=True, delta=False):
            return replace(left, without_base=True)
        case Mix(base=True, delta=True), Mix(base=True, delta=False):
            return replace(left, base=False, summed=None)
        case Ratio(), Scalar():
            return left
        case Scalar(), Scalar():
            return Scalar(left.marks | right.marks)
        case _:
            return None


def _quotient(left: Form, right: Form) -> Form:
    match left, right:
        case Mix(), Norm():
            return Decomposed(replace(left, magnitude=False), right, left.magnitude)
        case Magnitude(), Norm():
            return Ratio(right, True)
        case Scalar(), Norm():
            return Ratio(right, False, left.marks.strength is not None)
        case _, Scalar():
            return _times(left, right)
        case Scalar(), None:
            return Scalar(left.marks | Marks(unknown=True))
        case _:
            return None


def _times(left: Form, right: Form) -> Form:
    match left, right:
        case Scalar(), Scalar():
            return Scalar(left.marks | right.marks)
        case Mix(base=False), Scalar():
            return replace(left, marks=left.marks | right.marks)
        case Mix(), Scalar(marks=marks):
            return left if marks == Marks() else None
        case Mix(base=False), None:
            return replace(left, marks=left.marks | Marks(unknown=True))
        case Mix(), Magnitude():
            return replace(left, magnitude=True)
        case Mix(), Ratio():
            return Decomposed(left, right.norm, right.magnitude, interpolated=right.interpolated)
        case Decomposed(), Scalar():
            return replace(left, outer=left.outer | right.marks)
        case Decomposed(), Magnitude():
            return replace(left, magnitude=True)
        case Ratio(), Magnitude():
            return replace(left, magnitude=True)
        case Ratio(), Scalar():
            return replace(left, interpolated=left.interpolated or right.marks.strength is not None)
        case Norm(), Scalar():
            return left
        case _:
            return None
