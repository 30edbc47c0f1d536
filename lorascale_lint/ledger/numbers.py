"""Values of the ledger as scales, and what a scale is of."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.knowledge.roles import ALPHA, GATE, NUMBERS, SCALING, STRENGTH, role_of
from lorascale_lint.ledger.entries import Quotient
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.provenance.guards import Guards, contradict
from lorascale_lint.provenance.scale import Scale, Symbol
from lorascale_lint.provenance.values import Number, Place, Union, Value, options


def scale_of(value: Value) -> Scale | None:
    """The scale of a number, of a named one too; None for what is no number."""
    if isinstance(value, Number):
        return value.scale
    if isinstance(value, Place) and value.role in NUMBERS:
        return Scale.of(value.role or "", value.path)
    return None


def only_symbol(scale: Scale) -> Symbol | None:
    """The symbol that the scale is, if it is one to the power one."""
    if scale.coefficient == 1 and len(scale.powers) == 1 and scale.powers[0][1] == 1:
        return scale.powers[0][0]
    return None


def symbol_of(value: Value) -> Symbol | None:
    """The symbol that a number is, as it is and once; None for what is computed, or no number."""
    scale = scale_of(value)
    return None if scale is None else only_symbol(scale)


def is_each_way(value: Value, number: Scale) -> bool:
    """Is it that number on each way, wherever it comes from: the rank, an alpha?"""
    scales = [scale_of(option.value) for option in options(value)]
    return all(scale is not None and scale.by_role() == number for scale in scales)


def number_origins(value: Value) -> list[str]:
    """The origins of all that the numbers in a value are made of, for each way."""
    scales = [scale_of(option.value) for option in options(value)]
    return [symbol.origin for scale in scales if scale is not None for symbol, _ in scale.powers]


def alphas_of(value: Value) -> set[str]:
    """The origins of the alphas that a value is; an empty one stands for each way by which it is none."""
    symbols = [symbol_of(option.value) for option in options(value)]
    return {symbol.origin if symbol is not None and symbol.role == ALPHA else "" for symbol in symbols}


def alpha_of(value: Value) -> str:
    """The origin of the one alpha that a value is, whatever the way; empty if there is none."""
    found = alphas_of(value)
    return found.pop() if len(found) == 1 else ""


def trained(scale: Scale) -> bool:
    """Is alpha, or a whole trained scale, in a scale that is known?"""
    return not scale.unknowns() and any(
        symbol.role in (ALPHA, SCALING) and power > 0 for symbol, power in scale.powers
    )


def bare(scale: Scale) -> bool:
    """Is a known scale 1, but for what the user or training chooses?"""
    return (
        not scale.unknowns()
        and scale.coefficient == 1
        and all(s.role == GATE or (s.role == STRENGTH and power == 1) for s, power in scale.powers)
    )


def named_outright(symbol: Symbol) -> bool:
    """Does the name alone, without LoRA code around it, give the symbol its role (``lora_alpha``)?"""
    return role_of(symbol.origin.rpartition(".")[2], False) == symbol.role


def every_value(ledger: Ledger) -> Iterator[tuple[Value, Spot]]:
    """What is stored, written, given back, given on or tested."""
    yield from ((item.value, item.spot) for item in ledger.stores)
    yield from ((item.value, item.spot) for item in ledger.writes)
    yield from ((item.value, item.spot) for item in ledger.returns)
    yield from ((item.value, item.spot) for item in ledger.asks)
    yield from ((value, use.spot) for use in ledger.uses for value in use.given.values())


def every_number(ledger: Ledger) -> Iterator[tuple[Scale, Spot]]:
    """Numbers among those, quotients, and what multiplies a factor or a delta."""
    for value, spot in every_value(ledger):
        if isinstance(value, Number):  # most values are no alternatives, and most that are given no numbers
            yield value.scale, spot
        elif isinstance(value, Union):
            yield from ((way.value.scale, spot) for way in value.options if isinstance(way.value, Number))
    for quotient in ledger.quotients:
        yield from ((scale, quotient.spot) for scale, _ in quotient_scales(quotient))
    yield from ((fold.scale, fold.spot) for fold in ledger.folds)
    yield from ((apply.scale, apply.spot) for apply in ledger.applies)


def quotient_scales(quotient: Quotient) -> Iterator[tuple[Scale, Guards]]:
    """What a division gives, for each way in which its sides go together."""
    for above in options(quotient.value):
        for below in options(quotient.by):
            left, right = scale_of(above.value), scale_of(below.value)
            inverse = None if right is None else right.inverse()
            if left is not None and inverse is not None and not contradict(above.guards, below.guards):
                yield left * inverse, tuple(dict.fromkeys((*above.guards, *below.guards)))


def fields_in(node: ast.expr) -> Iterator[str]:
    """Fields in a product of numbers; the name of an adapter in ``scaling[self.active]`` is none."""
    match node:
        case ast.Attribute(value=ast.Name(id="self"), attr=name):
            yield name
        case ast.BinOp(left=left, right=right):
            yield from fields_in(left)
            yield from fields_in(right)
        case ast.Call(args=[only]):
            yield from fields_in(only)
        case _:
            pass
