"""Numbers that somebody chooses: parameters, options and the like that multiply a delta, by whatever name."""

from __future__ import annotations

from collections.abc import Iterable

from lorascale_lint.knowledge.options import GIVEN_BY_USERS
from lorascale_lint.knowledge.roles import ALPHA, MULTIPLIER, SCALING, STRENGTH, may_be_trained, weighs
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.scale import Scale, Symbol


def chosen(scale: Scale, functions: Iterable[FunctionInfo | None]) -> Scale:
    """``scale`` where what nobody knows is one number of a caller or a user.

    Beside the trained scale that is a strength; alone, it may be the whole scale as well. Otherwise the scale
    stays as it is: a mask, a norm, or a scale under another name may multiply.
    """
    unknown = [(symbol, power) for symbol, power in scale.powers if not symbol.role]
    known = list(functions) if unknown else []
    if not unknown or any(power not in (1, 2) or not _is_number(symbol, known) for symbol, power in unknown):
        return scale
    trained = any(symbol.role in (ALPHA, SCALING) for symbol, _ in scale.powers)
    role = STRENGTH if trained else MULTIPLIER
    powers = (
        (symbol if symbol.role else Symbol(role, symbol.origin), power) for symbol, power in scale.powers
    )
    return Scale(scale.coefficient, tuple(sorted(powers)))


def _is_number(symbol: Symbol, functions: Iterable[FunctionInfo | None]) -> bool:
    """Does the code say that this is one number, and does its name not speak of the training?"""
    name = symbol.origin.removesuffix(")").partition("[")[0].rpartition(".")[2]
    if not symbol.is_named or may_be_trained(name):
        return False
    if symbol.origin.startswith(GIVEN_BY_USERS) or weighs(name):
        return True
    return any(function is not None and function.takes_number(name) for function in functions)
