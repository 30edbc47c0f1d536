"""Strengths that are given to a loader which swallows them in its ``**kwargs``."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.interfaces import EXPORTER, MESSAGES, strength_arguments
from lorascale_lint.knowledge.pipelines import LOADER_KEYWORDS, SCALE_KEYWORDS
from lorascale_lint.knowledge.roles import ALPHA, SCALING, STRENGTHS, role_of
from lorascale_lint.ledger.entries import Use, argument_of
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import ByFunction
from lorascale_lint.ledger.numbers import number_origins, scale_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.values import NONE, Value, options


@immutable(frozen=True, slots=True, eq=False)
class Swallowed:
    """The call gives ``keyword`` to a loader of diffusers that has no such option.

    ``set_elsewhere`` if another function of the file gives a strength to what has one.
    """

    use: Use
    keyword: str
    argument: Spot
    set_elsewhere: bool


def swallowed_strengths(ledger: Ledger) -> Iterator[Swallowed]:
    """One for each call, where nothing else in its function gets the number."""
    loads = library_loads(ledger)
    files = {use.spot.file for use in ledger.uses if sets_strength(use)} if loads else set()
    for use in loads:
        known = LOADER_KEYWORDS[use.called]
        for keyword, value in use.given.items():
            if keyword in known or not _is_strength(keyword) or _is_nothing(value):
                continue
            if _goes_elsewhere(ledger, use, value):
                continue
            argument = argument_of(use, keyword) or use.spot
            yield Swallowed(use, keyword, argument, use.spot.file in files)
            break


def library_loads(ledger: Ledger) -> list[Use]:
    """Calls of loaders of diffusers that put an adapter on a whole model, each once."""
    loads = [use for use in ledger.uses if use.called in LOADER_KEYWORDS and use.callee is None]
    own = {use.callee.name for use in ledger.uses if isinstance(use.callee, FunctionInfo)} if loads else set()
    found: dict[ast.AST, Use] = {}
    for use in loads:
        node, file = use.spot.node, use.spot.file
        if use.called in own or not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue  # a function of that name is none of diffusers'
        if use.spot.chain or file.is_test or EXPORTER not in file.libraries:
            continue
        if not any(use.called in cls.methods for cls in file.classes.values()):
            found.setdefault(node, use)
    return list(found.values())


def _is_strength(keyword: str) -> bool:
    """Does the name promise a number by which the delta is multiplied, or what holds one?"""
    return keyword in SCALE_KEYWORDS or role_of(keyword, True) in (*STRENGTHS, ALPHA, SCALING)


def _is_nothing(value: Value) -> bool:
    """Is it None or 1, which ask for what happens anyway?"""
    return all(
        option.value == NONE
        or (
            (scale := scale_of(option.value)) is not None
            and scale.constant is not None
            and scale.constant == 1
        )
        for option in options(value)
    )


def _goes_elsewhere(ledger: Ledger, use: Use, value: Value) -> bool:
    """Does another call of the function get the number, or a strength that may be the same?"""
    origins = set(number_origins(value))
    others = [
        other
        for other in ledger.once(ByFunction).uses.get(use.spot.function, ())
        if other.spot.node is not use.spot.node and other.spot.file is use.spot.file
    ]
    return any(map(sets_strength, others)) or any(
        origins & set(number_origins(given))
        for other in others
        if other.called not in MESSAGES and other.called not in LOADER_KEYWORDS
        for given in other.given.values()
    )


def sets_strength(use: Use) -> bool:
    """Is it a call that has a strength among its arguments, and is given some?"""
    calls = {argument.call for argument in strength_arguments()}
    named = not use.given.keys().isdisjoint(SCALE_KEYWORDS) and use.called not in LOADER_KEYWORDS
    return named or bool(use.called in calls and use.given)
