"""Numbers that a caller may give and that are 1 otherwise: ``def fuse(self, lora_scale=1.0)``.

What they are, a person's strength or the trained scale itself, only the caller knows. Rules take them as
unknown; `map` prints them as ``multiplier``, so that the rest of a formula is seen.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lorascale_lint.facts.terms import Attr, Call, Const, Global, Op, Param, Term, each_term, walk
from lorascale_lint.model.scale import ALPHA, RANK
from lorascale_lint.model.vocabulary import number_role

if TYPE_CHECKING:
    from lorascale_lint.model.project import Function

_NAME = re.compile(
    r"_*((lora|adapter|merge|user|delta|peft|fuse)_?)?"
    r"(scales?|scalings?|scale_factor|scaling_factor|factor|gamma|ratio|weight_scale|weight|strength|multiplier)"
)
_CONVERSIONS = frozenset("float str print isinstance type format tensor as_tensor".split())


def is_plain_multiplier(function: Function, name: str) -> bool:
    """Is the parameter ``name`` of ``function`` a number with the default 1 that is no alpha?

    An ``alpha`` is one too (DiffSynth-Studio) where it is only multiplied with: no rank comes with it, no
    quotient has it, and other functions get it as their ``alpha`` or not at all.
    """
    parameter = function.parameter(name)
    if parameter is None or not isinstance(parameter.default, Const):
        return False
    default = parameter.default.value
    if isinstance(default, bool) or not isinstance(default, int | float) or default != 1:
        return False
    return _NAME.fullmatch(name) is not None or (name == "alpha" and _is_only_multiplied(function, name))


def asks_for_alpha(test: Term) -> bool:
    """Is a condition about an alpha: ``alpha is None or alpha == 0``?"""
    names = (part.name for part in walk(test) if isinstance(part, Param | Attr | Global))
    return any(number_role(name, True) == ALPHA for name in names)


def _is_only_multiplied(function: Function, name: str) -> bool:
    if function.facts.name == "__init__" or any(
        number_role(parameter.name, True) == RANK for parameter in function.facts.parameters
    ):
        return False
    for _, term in each_term(function.facts.events):
        inner: list[Term] = []
        if isinstance(term, Op) and term.sign in ("/", "//", "**"):
            inner = walk(term)
        elif isinstance(term, Call) and _callee(term) not in _CONVERSIONS:
            passed_on = not any(number_role(key, True) == RANK for key, _ in term.keywords)
            inner = [
                *term.args,
                *(value for key, value in term.keywords if not (passed_on and key == name)),
            ]
        if any(isinstance(part, Param) and part.name == name for part in inner):
            return False
    return True


def _callee(call: Call) -> str:
    return call.func.name if isinstance(call.func, Attr | Global) else ""
