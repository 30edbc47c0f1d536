"""Calls that get the factors of a file without its alphas, beside one that gets them."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.interfaces import MODULE_WORDS
from lorascale_lint.knowledge.pipelines import TAKES_ALPHAS
from lorascale_lint.knowledge.roles import ALPHA, role_of, words
from lorascale_lint.ledger.entries import Use, argument_of
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.origins import owner_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import ClassInfo, FunctionInfo
from lorascale_lint.provenance.guards import contradict
from lorascale_lint.provenance.values import NONE, Place, Ref, Value, options


@immutable(frozen=True, slots=True, eq=False)
class HalfGiven:
    """``use`` leaves ``parameter`` None, and ``told`` gives it for the same factors."""

    use: Use
    parameter: str
    told: Use
    alphas: Spot


def half_given(ledger: Ledger) -> Iterator[HalfGiven]:
    """One for each call without them."""
    calls: dict[object, list[tuple[Use, str]]] = defaultdict(list)
    for use in ledger.uses:
        parameter = _parameter(use)
        if parameter and isinstance(use.spot.node, ast.Call) and not use.hidden and not use.spot.file.is_test:
            calls[use.spot.function, use.spot.chain].append((use, parameter))
    seen: set[ast.AST] = set()
    for beside in calls.values():
        told = [(use, name) for use, name in beside if _is_given(_alphas(use, name))]
        for use, name in beside if told else ():
            if _alphas(use, name) != NONE or use.spot.node in seen:
                continue
            for other, given in told:
                if _of_one_file(ledger, use, other) and _is_unasked(use, other):
                    seen.add(use.spot.node)
                    spot = argument_of(other, given) or other.spot
                    yield HalfGiven(use, name, other, spot)
                    break


def _parameter(use: Use) -> str:
    """The parameter for the alphas of all modules."""
    if use.callee is None or use.called == "__init__":  # the call of the class stands beside it
        return TAKES_ALPHAS.get(use.called, "")
    callee = use.callee.methods.get("__init__") if isinstance(use.callee, ClassInfo) else use.callee
    names = callee.parameters if isinstance(callee, FunctionInfo) else []
    found = [name for name in names if role_of(name, True) == ALPHA]
    if len(found) != 1 or not {"alphas", *MODULE_WORDS} & set(words(found[0])):
        return ""
    return found[0]


def _alphas(use: Use, parameter: str) -> Value | None:
    """What a call gives for it; the default of a parameter that it leaves out, if that is None."""
    if use.callee is None:
        return use.given.get(parameter, use.given.get("1"))
    if parameter in use.given:
        return use.given[parameter]
    callee = use.callee.methods.get("__init__") if isinstance(use.callee, ClassInfo) else use.callee
    default = callee.defaults.get(parameter) if isinstance(callee, FunctionInfo) else None
    return NONE if isinstance(default, ast.Constant) and default.value is None else None


def _is_given(value: Value | None) -> bool:
    return value is not None and any(isinstance(o.value, Place | Ref) for o in options(value))


def _of_one_file(ledger: Ledger, use: Use, other: Use) -> bool:
    """Do both calls get the same factors, or parts of one file?"""
    return not _states(ledger, use).isdisjoint(_states(ledger, other))


def _states(ledger: Ledger, use: Use) -> set[object]:
    """The tables among the arguments, of a file or filled by the project, and what these are parts of."""
    given = [value for name, value in use.given.items() if role_of(name, True) != ALPHA]
    tables = [option.value for value in given for option in options(value) if _is_table(option.value)]
    if use.callee is None:
        tables = [o.value for o in options(use.given.get("0", NONE)) if isinstance(o.value, Place | Ref)]
    of = ledger.once(_sources)
    paths = {table.path for table in tables if isinstance(table, Place)}
    return {*tables, *paths, *(path for table in tables for path in of.get(table, ()))}


def _sources(ledger: Ledger) -> dict[Value, set[str]]:
    """What each dictionary is filled from: ``{key: value for key, value in state.items() if ...}``."""
    found: dict[Value, set[str]] = defaultdict(set)
    for write in ledger.writes:
        for option in options(write.value):
            owner = owner_of(option.value.path) if isinstance(option.value, Place) else ""
            if owner and isinstance(write.container, Ref):
                found[write.container].add(owner)
    return found


def _is_table(value: Value) -> bool:
    if isinstance(value, Place):
        return value.made == "state dict"
    return isinstance(value, Ref) and value.kind == "dict"


def _is_unasked(use: Use, other: Use) -> bool:
    """Are both calls made, and is it not asked first whether there are alphas?"""
    more = [name for name, _ in use.guards if (name, True) not in other.guards]
    own = [name for name in more if (name, False) not in other.guards]
    return not contradict(use.guards, other.guards) and not any(ALPHA in name for name in own)
