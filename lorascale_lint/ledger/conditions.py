"""What a condition in the guards of an entry asks, by its name there."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Mapping
from functools import lru_cache

from lorascale_lint.bounds import KEPT_STATEMENTS
from lorascale_lint.knowledge.roles import (
    ALPHA,
    EXPLAINS_SCALE,
    NUMBERS,
    RANK,
    SCALING,
    key_role,
    role_of,
    words,
)
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.guards import Guards
from lorascale_lint.provenance.marks import asked_for_none, none_question

_TRAINED = (ALPHA, RANK, SCALING)


@lru_cache(KEPT_STATEMENTS)
def expression(name: str) -> ast.expr | None:
    """The condition as an expression; None for loops, handlers and the presence of an entry."""
    asked = asked_for_none(name)
    text = re.sub(r"@\d+$", "", asked or name)
    try:
        return ast.parse(none_question(f"({text})") if asked else text, mode="eval").body
    except SyntaxError:
        return None


def names_in(condition: str) -> list[str]:
    """The names in a condition, of whatever kind it is."""
    return re.findall(r"[^\W\d]\w*", condition)


def explains(
    condition: str, roles: Collection[str] = NUMBERS, *, told: Collection[str] = (), named: str = ""
) -> bool:
    """May the condition itself say why a number is missing: a flag of the caller, a format without alpha?

    ``roles`` are those of the missing numbers, ``told`` those that say nothing of them, and ``named``
    is one of the missing ones. A bare name is what a caller gives, or what was computed for the purpose.
    """
    return _explains(condition, frozenset(roles), frozenset(told), named)


@lru_cache(KEPT_STATEMENTS)  # asked for each pair of the ends of a function
def _explains(condition: str, roles: frozenset[str], told: frozenset[str], named: str) -> bool:
    node = expression(asked_for_none(condition) or condition)
    if node is None:
        key, present, _ = condition.rpartition(" in ")
        return bool(present) and key_role(key.rpartition("}")[2]) in roles
    parts = list(ast.walk(node))
    names = [part.id for part in parts if isinstance(part, ast.Name)]
    called = [part.func for part in parts if isinstance(part, ast.Call)]  # `weight.dim()` asks for no rank
    names += [part.attr for part in parts if isinstance(part, ast.Attribute) and part not in called]
    keys = {key_role(p.value) for p in parts if isinstance(p, ast.Constant) and isinstance(p.value, str)}
    if not names or named in names or keys - {None, *told}:
        return True
    if any(role_of(part, True) in roles or not EXPLAINS_SCALE.isdisjoint(words(part)) for part in names):
        return True
    whole = isinstance(node, ast.Compare) and not told
    asked = [node.left, *node.comparators] if whole and isinstance(node, ast.Compare) else [node]
    return any(isinstance(part, ast.Name) and role_of(part.id, True) not in told for part in asked)


def none_there(guards: Guards) -> Guards:
    """What the guards ask for None, and whether it is None there."""
    return tuple((asked, holds) for name, holds in guards if (asked := asked_for_none(name)))


def is_none(guards: Guards) -> bool:
    """Is anything known to be None there?"""
    return any(holds for _, holds in none_there(guards))


def lacks_number(guards: Guards) -> bool:
    """Is there no alpha, no rank or no scale: is one None there, zero or empty?"""
    return any(_lacks_number(name, holds) for name, holds in guards)


@lru_cache(KEPT_STATEMENTS)
def _lacks_number(condition: str, holds: bool) -> bool:
    node = expression(condition)
    return node is not None and _is_lacking(node, holds)


def _is_lacking(node: ast.expr, holds: bool) -> bool:
    match node:
        case ast.Compare(left=asked, ops=[ast.Is() | ast.IsNot() as how], comparators=[ast.Constant(None)]):
            return holds == isinstance(how, ast.Is) and _is_number(asked)
        case ast.UnaryOp(op=ast.Not(), operand=asked):
            return _is_lacking(asked, not holds)
        case ast.BoolOp(op=op, values=parts):
            # All parts of an `and` that holds, and of an `or` that does not, say something; else one of them.
            says = any if isinstance(op, ast.And) is holds else all
            return says(_is_lacking(part, holds) for part in parts)
        case _:
            return not holds and _is_number(node)


def _is_number(node: ast.expr) -> bool:
    name = {ast.Name: "id", ast.Attribute: "attr"}.get(type(node), "")
    return bool(name) and role_of(getattr(node, name), True) in _TRAINED


def is_set(parameter: str, guards: Guards) -> bool:
    """Is the parameter, or a part of it, true there, or known not to be None?"""
    return any(
        name.startswith(f"{parameter}@") and holds != bool(asked_for_none(name)) for name, holds in guards
    )


def is_of_class(name: str, guards: Guards) -> bool:
    """Do the conditions say of something that it is of the class: ``isinstance(module, LoRALinear)``?"""
    return any(
        holds and asked.startswith("isinstance(") and name in names_in(asked) for asked, holds in guards
    )


def parting(left: Guards, right: Guards) -> tuple[str, bool] | None:
    """The first condition of ``left`` that ``right`` has the other way round."""
    return next(((name, holds) for name, holds in left if (name, not holds) in right), None)


def partings(left: Guards, right: Guards) -> list[str]:
    """All conditions that one of the two has the other way round."""
    return [name for name, holds in left if (name, not holds) in right]


def test_of(function: FunctionInfo, name: str) -> ast.expr | None:
    """The test of a statement or conditional expression of ``function`` that asks a condition."""
    text = _printed(name)
    return None if text is None else _tests(function).get(text)


@lru_cache(KEPT_STATEMENTS)
def _printed(name: str) -> str | None:
    """The condition, printed as tests are."""
    wanted = expression(name)
    return None if wanted is None else ast.unparse(wanted)


@lru_cache(16)  # functions are looked at in turn; a rule asks for each pair of a function's guards
def _tests(function: FunctionInfo) -> Mapping[str, ast.expr]:
    """The first test of each text in a function, without ``not``, and the parts of ``and`` and ``or``."""
    tests: dict[str, ast.expr] = {}
    for node in ast.walk(function.node):
        if isinstance(node, ast.If | ast.IfExp):
            test: ast.expr = node.test
            while isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
                test = test.operand
            tests.setdefault(ast.unparse(test), test)
            tests.setdefault(_positive(test), test)
    for whole in [*tests.values()]:
        for part in whole.values if isinstance(whole, ast.BoolOp) else ():
            tests.setdefault(ast.unparse(part), part)
    return tests


def _positive(test: ast.expr) -> str:
    """The text of what is asked, where the test denies it: ``hit is None`` of ``hit is not None``."""
    match test:
        case ast.Compare(ops=[ast.IsNot()]):
            return ast.unparse(ast.Compare(test.left, [ast.Is()], test.comparators))
        case ast.Compare(ops=[ast.NotIn()]):
            return ast.unparse(ast.Compare(test.left, [ast.In()], test.comparators))
        case _:
            return ast.unparse(test)


def asked(name: str) -> ast.expr | None:
    """What a condition over local names asks; None for a loop, a handler, the presence of an entry."""
    return expression(name) if "@" in name else None
