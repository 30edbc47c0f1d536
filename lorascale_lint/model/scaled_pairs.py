"""A number that is multiplied onto both factors of a module, each stored in its own place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.facts.terms import Attr, Call, Choice, Const, Event, Item, Loc, Op, Param, Term
from lorascale_lint.model.adapter_flow import unconverted
from lorascale_lint.model.factor_ratios import SquaredRatio
from lorascale_lint.model.file_readers import callee_name
from lorascale_lint.model.key_pattern import key_pattern
from lorascale_lint.model.model import Model
from lorascale_lint.model.project import Function, is_test_file
from lorascale_lint.model.scaled_files import (
    RATIO,
    is_complement,
    is_weight,
    parts_of_product,
    strength_name,
    summands,
)
from lorascale_lint.model.vocabulary import factor_side, key_side


@dataclass(frozen=True, slots=True, eq=False)
class _Scaled:
    """A factor of one ``side`` that ``event`` stores, each summand times one of ``scalars``."""

    side: str
    event: Event
    loc: Loc
    scalars: frozenset[tuple[str, int]]
    """Names, each with what tells apart numbers that are only multiplied on under a condition."""


def scaled_pairs(model: Model) -> Iterator[SquaredRatio]:
    """One place of each function that stores both factors times one number."""
    for function in model.functions:
        if is_test_file(function.filename):
            continue
        stored = list(_stored(model, function))
        for later, second in enumerate(stored):
            first = next((item for item in stored[:later] if _is_pair(item, second)), None)
            if first is not None:
                name, _ = min(first.scalars & second.scalars)
                yield SquaredRatio(function, second.event, second.loc, name, first.loc, second.loc, None)
                break


def _is_pair(first: _Scaled, second: _Scaled) -> bool:
    """Are these both factors, with the same numbers, under the same conditions?"""
    guards = [{(id(guard.test), guard.holds) for guard in item.event.guards} for item in (first, second)]
    return first.side != second.side and first.scalars == second.scalars and guards[0] == guards[1]


def _stored(model: Model, function: Function) -> Iterator[_Scaled]:
    for event in function.events("write"):
        side = _side(event.target) if event.sign in ("", "*") else None
        if side is None or event.target is None:
            continue
        value = Op("*", event.target, event.value, event.loc) if event.sign == "*" else event.value
        scalars: set[tuple[str, int]] = set()
        if isinstance(value, Call) and callee_name(value) == "Parameter" and value.args:
            value = value.args[0]
        products = list(summands(unconverted(value)))
        for product in products:
            names = [_number(model, function, part, len(products) > 1) for part in parts_of_product(product)]
            named = [name for name in names if name is not None]
            if len(names) - len(named) != 1:  # one tensor, and numbers
                break
            scalars.update(named)
        else:
            if scalars:
                yield _Scaled(side, event, event.loc, frozenset(scalars))


def _number(model: Model, function: Function, term: Term, several: bool) -> tuple[str, int] | None:
    match term:
        case Choice(then=Const(value=1), other=given) | Choice(then=given, other=Const(value=1)):
            found = _number(model, function, given, several)  # the other case multiplies nothing
            return None if found is None else (found[0], id(term))
        case _:
            name = _name(model, function, term, several)
            return None if name is None else (name, 0)


def _name(model: Model, function: Function, term: Term, several: bool) -> str | None:
    strength = strength_name(term)
    if strength is not None:
        return strength
    if isinstance(term, Param) and RATIO.fullmatch(term.name) and not is_complement(term):
        return term.name if is_weight(model, function, term.name, several=several) else None
    return None


def _side(target: Term | None) -> str | None:
    """Which factor's place ``target`` is: ``layer.lora_up.weight``, ``sd[name + ".lora_down.weight"]``."""
    while target is not None:
        match target:
            case Attr(base=base, name="weight" | "data"):
                target = base
            case Attr(name=name):
                return factor_side(name, False)
            case Item(base=base, key=key):
                side = key_side(key_pattern(key))
                if side is not None:
                    return side
                target = base
            case Call(func=Attr(base=base)):
                target = base
            case _:
                return None
    return None
