"""Factors told by how they are made: ``Linear(width, rank)`` is A, ``param("lora_b", ...)`` is B.

Names such as ``to_q_down``, ``adapter[0]`` or ``proj_in`` say little; an extent that is the rank, or the
name that a framework's parameter is registered under, says the same with more certainty.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from lorascale_lint.facts.terms import Attr, Call, Const, Global, Mapping, Sequence, Term
from lorascale_lint.model.scale import RANK, Scale
from lorascale_lint.model.values import Number
from lorascale_lint.model.vocabulary import factor_side

if TYPE_CHECKING:
    from lorascale_lint.model.evaluate import Evaluator
    from lorascale_lint.model.frames import Frame

ModuleSide = Literal["A", "B", "delta"]

_MODULE = re.compile(r"(?i)(\w*linear|conv\dd|dense|embedding)")
_WIDTHS = (("in_features", "out_features"), ("in_channels", "out_channels"), ("input_dims", "output_dims"))
_REGISTERS = frozenset("param add_weight add_param add_parameter get_parameter variable".split())
_PASSES = re.compile(r"(?i)(\w*dropout|identity)")
_SEQUENCES = frozenset(["Sequential"])
_CONTAINERS = frozenset(
    "dict list tuple OrderedDict defaultdict ModuleDict ModuleList ParameterDict ParameterList".split()
)


def module_side(evaluator: Evaluator, made: Term, frame: Frame) -> ModuleSide | None:
    """What a module is: a factor by the rank among its widths, or both factors in sequence."""
    name = _called(made)
    if not isinstance(made, Call) or made.spread:
        return None
    if name in _SEQUENCES:
        parts = [part for part in made.args if not _PASSES.fullmatch(_called(part))]
        return "delta" if [module_side(evaluator, part, frame) for part in parts] == ["A", "B"] else None
    if not _MODULE.fullmatch(name):
        return None
    for first, second in _WIDTHS:
        widths = (made.argument(0, first), made.argument(1, second))
        if widths[0] is not None and widths[1] is not None:
            ranks = [_is_rank(evaluator, width, frame) for width in widths if width is not None]
            return None if ranks[0] == ranks[1] else "B" if ranks[0] else "A"
    return None


def makes_module(term: Term) -> bool:
    """Does a call make a layer of whatever class: ``self.module(width, rank, bias=False)``?"""
    return isinstance(term, Call) and any(name == "bias" for name, _ in term.keywords)


def _is_rank(evaluator: Evaluator, term: Term, frame: Frame) -> bool:
    value = evaluator.single(term, frame)
    return isinstance(value, Number) and value.scale == Scale.of(RANK)


def registered_side(call: Call) -> str | None:
    """The factor that a framework's parameter is, by the name it is registered under."""
    if _called(call) not in _REGISTERS:
        return None
    given = call.argument(0, "name")
    if isinstance(given, Const) and isinstance(given.value, str):
        return factor_side(given.value, False)
    return None


def is_empty_container(term: Term) -> bool:
    """Is ``term`` a container that is filled later: ``{}``, ``[]``, ``nn.ModuleDict({})``?"""
    match term:
        case Mapping(pairs=()) | Sequence(items=()):
            return True
        case Call(args=args) if _called(term) in _CONTAINERS:
            return all(is_empty_container(part) or isinstance(part, Global) for part in args)
        case _:
            return False


def is_number(term: Term) -> bool:
    """Is ``term`` a literal number?"""
    return (
        isinstance(term, Const) and isinstance(term.value, int | float) and not isinstance(term.value, bool)
    )


def _called(term: Term) -> str:
    return term.func.name if isinstance(term, Call) and isinstance(term.func, Attr | Global) else ""
