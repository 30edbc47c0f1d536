"""Alphas that are divided by an extent of a factor which is not the rank."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.operations import COUNTS_EXTENTS
from lorascale_lint.knowledge.roles import ALPHA, FACTORS
from lorascale_lint.ledger.applications import Branch, applications
from lorascale_lint.ledger.conditions import parting
from lorascale_lint.ledger.entries import Quotient
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.made_deltas import made_deltas
from lorascale_lint.ledger.numbers import only_symbol, scale_of, symbol_of, trained
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import ClassInfo
from lorascale_lint.provenance.products import is_rank
from lorascale_lint.provenance.scale import EXTENT, RANK_AXES, Scale, Symbol
from lorascale_lint.provenance.tensors import factor_of
from lorascale_lint.provenance.values import Ref, Tensor, Value, options


@immutable(frozen=True, slots=True)
class WrongAxis:
    """The delta at ``spot`` has an extent of a factor below alpha: ``axis`` of ``factor``."""

    spot: Spot
    axis: str
    factor: str
    ways: tuple[tuple[Spot, str], ...]
    """Where the extent gets a name, and where alpha is divided by it."""
    sure: bool
    """False where the shapes decide how the factors lie, and the extent is the rank the other way round."""


def wrong_axes(ledger: Ledger) -> Iterator[WrongAxis]:
    """One for each division, of however many deltas."""
    seen: set[object] = set()
    sizes = _sizes(ledger)
    for spot, branch, others in _deltas(ledger):
        own = sizes.get(spot.cls, {})
        symbol = _wrong_axis(_by_axes(branch.scale, own), branch.layout)
        if symbol is None:
            continue
        names = {symbol.origin, *(name for name, axis in own.items() if axis == symbol.origin)}
        ways = (*_ways(ledger, spot, names), *_divided(branch, names))[:2]
        cause = ways[-1][0].node if ways else spot.node
        if cause not in seen:
            seen.add(cause)
            axis, factor = symbol.origin.partition(" <")[0].split(" of ")
            yield WrongAxis(spot, axis, factor, ways, not any(_is_right(o, branch.layout) for o in others))


def kernels_by_axis(ledger: Ledger) -> Iterator[WrongAxis]:
    """Alphas that are divided by the rank of matrices, and by another extent of the same factor's kernels."""
    by_place: dict[object, list[tuple[Quotient, Symbol]]] = defaultdict(list)
    for quotient in ledger.quotients:
        symbol = symbol_of(quotient.by)
        if symbol is not None and " of A <" in symbol.origin and not quotient.spot.file.is_test:
            by_place[quotient.spot.function, symbol.origin.partition(" <")[2]].append((quotient, symbol))
    seen: set[object] = set()
    for found in by_place.values():
        right = [(q, s) for q, s in found if s.origin.startswith("0 ")]
        for quotient, symbol in found:
            beside = [q for q, _ in right if _are_kinds(parting(quotient.guards, q.guards))]
            if symbol.role == EXTENT and beside and quotient.spot.node not in seen:
                seen.add(quotient.spot.node)
                ways = ((beside[0].spot, "the same factor's rank is its extent 0 here"),)
                yield WrongAxis(quotient.spot, symbol.origin.partition(" ")[0], "A", ways, True)


def _are_kinds(condition: tuple[str, bool] | None) -> bool:
    """Does a condition part matrices from kernels, by how many extents they have?"""
    return condition is not None and any(word in condition[0] for word in COUNTS_EXTENTS)


def _is_right(branch: Branch, layout: str) -> bool:
    """Does the product sum over the other axes there, with alpha over the rank?"""
    return branch.layout in RANK_AXES and branch.layout != layout and trained(branch.scale)


def _ways(ledger: Ledger, spot: Spot, names: set[str]) -> Iterator[tuple[Spot, str]]:
    """Where the extent gets a name, and where alpha is divided by it, on the way to the delta at ``spot``."""

    def leads_here(other: Spot) -> bool:
        callee = other.chain[: len(spot.chain)] == spot.chain and len(other.chain) > len(spot.chain)
        of_class = spot.cls is not None and other.cls is spot.cls
        return callee or of_class or other.function is spot.function

    named = [(bind.spot, bind.name, bind.value) for bind in ledger.binds]
    named += [(given.spot, given.spot.name, given.value) for given in ledger.returns]
    for place, name, value in named:
        if leads_here(place) and any(_is(option.value, names) for option in options(value)):
            yield place, f"`{name}` is this extent"
            break
    for quotient in ledger.quotients:
        by = options(quotient.by)
        if leads_here(quotient.spot) and any(_holds(option.value, names) for option in by):
            yield quotient.spot, "and alpha is divided by it"
            break


def _is(value: Value, names: set[str]) -> bool:
    symbol = symbol_of(value)
    return symbol is not None and symbol.origin in names


def _holds(value: Value, names: set[str]) -> bool:
    scale = scale_of(value)
    return scale is not None and any(own.origin in names for own, _ in scale.powers)


def _divided(branch: Branch, names: set[str]) -> Iterator[tuple[Spot, str]]:
    """Where the number that multiplies was divided by it."""
    for step in branch.steps:
        for made in getattr(step.by, "steps", ()):
            if any(symbol.origin in names and power < 0 for symbol, power in made.scale.powers):
                yield made.spot, "alpha is divided by it"


def _deltas(ledger: Ledger) -> Iterator[tuple[Spot, Branch, tuple[Branch, ...]]]:
    """Where a delta is applied, and where one is only made, beside all that may be there."""
    for item in (*applications(ledger), *made_deltas(ledger)):
        for branch in item.branches:
            yield item.spot, branch, item.branches


def _sizes(ledger: Ledger) -> dict[ClassInfo | None, dict[str, str]]:
    """Which extent of a factor a number is that the class made it with, beside the rank."""
    found: dict[ClassInfo | None, dict[str, str]] = defaultdict(dict)
    for store in ledger.stores:
        cls = store.owner.cls if isinstance(store.owner, Ref) else None
        for option in options(store.value) if cls is not None else ():
            factor = option.value
            if isinstance(factor, Tensor) and factor.kind in FACTORS and len(factor.dims) == 2:
                ranks = [is_rank(dim) for dim in factor.dims]
                symbol = only_symbol(factor_of(factor.dims[ranks.index(False)])) if sum(ranks) == 1 else None
                if symbol is not None and not symbol.role and symbol.is_named:
                    origin = f"{ranks.index(False)} of {factor.kind} <{factor.origin}>"
                    found[cls].setdefault(symbol.origin, origin)
    return found


def _by_axes(scale: Scale, sizes: Mapping[str, str]) -> Scale:
    """The scale where a number that a factor was made with is called after the factor's extent."""
    powers = tuple(
        (Symbol(EXTENT, sizes[s.origin]) if not s.role and power < 0 and s.origin in sizes else s, power)
        for s, power in scale.powers
    )
    return Scale(scale.coefficient, tuple(sorted(powers))) if sizes else scale


def _wrong_axis(scale: Scale, layout: str) -> Symbol | None:
    """The extent below alpha, if what else is unknown of the scale are numbers that multiply."""
    unknown = [(symbol.is_named, power) for symbol, power in scale.powers if not symbol.role]
    if layout not in RANK_AXES or any(power != 1 or not named for named, power in unknown):
        return None
    powers = {symbol.role: power for symbol, power in scale.powers}
    if powers.get(ALPHA, 0) <= 0:
        return None
    below = [symbol for symbol, power in scale.powers if symbol.role == EXTENT and power < 0]
    return below[0] if len(below) == 1 and " of " in below[0].origin else None
