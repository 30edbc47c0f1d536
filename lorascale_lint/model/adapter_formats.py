"""What shows that the adapter whose factors a script looks up has an alpha: its layers, its configuration.

Keys such as ``lora_down`` belong to a format that carries alpha. Other keys are only the attribute names
of some layer: if that layer is in the project and multiplies by alpha / rank, its adapters are trained so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.facts.terms import Attr, Call, Global, Loc, Op, Term, each_term
from lorascale_lint.model.dictionary_merges import DictionaryMerge
from lorascale_lint.model.evaluate import Evaluator
from lorascale_lint.model.file_readers import callee_name, reads_tensors
from lorascale_lint.model.project import Class, Function, is_test_file
from lorascale_lint.model.scale import ALPHA, RANK
from lorascale_lint.model.values import Number
from lorascale_lint.model.vocabulary import factor_side, number_role

_WORD = re.compile(r"[A-Za-z_]\w*")
_MEGATRON = re.compile(r"(?:lora_\w+_adapter|(?<!\w)adapter(?:_\w+)?)\.linear_(?:in|out)(?!\w)")
"""Adapters of NeMo and Megatron-Bridge, whose configuration states ``alpha`` beside ``dim``."""
_CONFIGURATION_READERS = frozenset("OmegaConf yaml json toml tomllib YAML".split())
_LOADS = frozenset("load loads safe_load full_load unsafe_load".split())
_SETUP = frozenset("__init__ __post_init__ build setup reset_parameters".split())


@dataclass(frozen=True, slots=True, eq=False)
class ScaledLayer:
    """A layer ``cls`` whose factors are called ``names`` and which multiplies their delta at ``loc``."""

    cls: Class
    names: tuple[str, str]
    function: Function
    loc: Loc


def scaled_layer(evaluator: Evaluator, merge: DictionaryMerge) -> ScaledLayer | None:
    """The layer that the merged factors belong to, if every layer of these names scales its delta."""
    names = _names(merge)
    if names is None:
        return None
    found: list[ScaledLayer] = []
    for cls in evaluator.project.classes.values():
        if is_test_file(cls.filename) or not _holds(evaluator, cls, names):
            continue
        place = next(_trained_multiplications(evaluator, cls), None)
        if place is None:
            return None
        found.append(ScaledLayer(cls, names, *place))
    return found[0] if found else None


def loaded_configuration(
    merge: DictionaryMerge, functions: tuple[Function, ...]
) -> tuple[Function, Loc] | None:
    """Where the configuration of a Megatron adapter is loaded beside its tensors."""
    if not all(_MEGATRON.search(factor.shown) for factor in (merge.delta.up, merge.delta.down)):
        return None
    for function in functions:
        calls = [term for _, term in each_term(function.facts.events) if isinstance(term, Call)]
        if any(map(reads_tensors, calls)):
            place = next((call.loc for call in calls if _reads_configuration(call)), None)
            if place is not None:
                return function, place
    return None


def _reads_configuration(call: Call) -> bool:
    if not isinstance(call.func, Attr) or callee_name(call) not in _LOADS:
        return False
    base = call.func.base
    return isinstance(base, Global) and base.name in _CONFIGURATION_READERS


def _names(merge: DictionaryMerge) -> tuple[str, str] | None:
    """The attribute names of both factors in the keys of a merge."""
    down, up = (
        next(
            (word for word in reversed(_WORD.findall(factor.shown)) if factor_side(word, True) == side), None
        )
        for factor, side in ((merge.delta.down, "A"), (merge.delta.up, "B"))
    )
    return (down, up) if down is not None and up is not None else None


def _holds(evaluator: Evaluator, cls: Class, names: tuple[str, str]) -> bool:
    """Does the class itself make both factors?"""
    made = [
        any(write.on_self and write.function.owner is cls for write in evaluator.project.writes(cls, name))
        for name in names
    ]
    return all(made)


def _trained_multiplications(evaluator: Evaluator, cls: Class) -> Iterator[tuple[Function, Loc]]:
    """Where methods of ``cls`` multiply something by the trained scale."""
    for method in evaluator.project.methods(cls):
        if method.facts.name in _SETUP:
            continue
        frame = evaluator.frame(method, cls)
        for event, term in each_term(method.facts.events):
            operands: tuple[Term, ...] = ()
            if isinstance(term, Op) and term.sign == "*":
                operands = (term.left, term.right)
            elif event.sign == "*" and term is event.value:
                operands = (term,)
            for operand in operands:
                values = [alternative.value for alternative in evaluator.values(operand, frame)]
                scales = [value.scale for value in values if isinstance(value, Number)]
                trained = len(scales) == len(values) and any(scale.is_trained for scale in scales)
                if trained or _is_named_scale(operand):
                    yield method, term.loc


def _is_named_scale(term: Term) -> bool:
    """``self.alpha / self.dim``: in a layer with both factors the weak names are meant, LoRA words or not."""
    match term:
        case Op(sign="/", left=Attr(name=alpha), right=Attr(name=rank)):
            return number_role(alpha, True) == ALPHA and number_role(rank, True) == RANK
        case _:
            return False
