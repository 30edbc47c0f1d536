"""The ways in which a class applies its factors: to the weight, and to the activation."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from operator import itemgetter

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import ALPHA, GATE, MULTIPLIER, SCALING
from lorascale_lint.ledger.applications import Application
from lorascale_lint.ledger.conditions import lacks_number
from lorascale_lint.ledger.deltas import only_normed
from lorascale_lint.ledger.entries import Return, Use
from lorascale_lint.ledger.families import Family, in_one_line, keeps_fold, opposed, runs
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import scale_of, trained
from lorascale_lint.ledger.scaled_sums import is_scaled_later
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import ClassInfo, FunctionInfo
from lorascale_lint.provenance.guards import Guards
from lorascale_lint.provenance.scale import Scale
from lorascale_lint.provenance.values import Multiplied, Tensor, options

_FACTORS = frozenset({"A", "B", "delta", "kronecker"})
TRAINED, LEARNED = frozenset({ALPHA, SCALING}), frozenset({GATE})


@immutable(frozen=True, slots=True, eq=False)
class LeftOut:
    """``path`` applies the factors to the activation without a number that the way of the weight has."""

    path: Application
    way: Spot
    roles: frozenset[str]
    """What is left out: the trained scale, or what the layer learns."""
    at: Spot
    """Where the weight gets it."""
    number: ast.expr | None
    """What stands there for it."""

    @property
    def name(self) -> str:
        """The field that holds it; empty if that is none of the object."""
        match self.number:
            case ast.Attribute(value=ast.Name(id="self"), attr=name):
                return name
            case _:
                return ""


Way = tuple[Spot, Guards, Scale, tuple[Multiplied, ...], ast.expr | None]
"""Where the weight is made, when, at which scale, by which steps, or by a number given to a call."""


def left_out(ledger: Ledger, family: Family) -> Iterator[LeftOut]:
    """Numbers on the weight's way that no branch of an activation's way has."""
    if keeps_fold(ledger, family):
        return
    seen: set[tuple[FunctionInfo | None, frozenset[str]]] = set()
    ways = sorted(
        (*_weight_ways(ledger, family), *_ways_out_of_sight(ledger, family)),
        key=lambda way: bool(way[2].unknowns()),  # the sure ones first
    )
    for path, holder in family.holders.items():
        if path.kind != "forward" or not _tells_roles(ledger, path) or is_scaled_later(ledger, path):
            continue
        has = _roles(ledger, path)
        if all(lacks_number(branch.guards) for branch in path.branches):
            has |= TRAINED  # nothing is left out of a way that is taken without one
        for spot, guards, scale, steps, number in ways:
            apart = all(any(opposed(branch.guards, guards)) for branch in path.branches)
            if apart or not in_one_line(ledger, holder, spot.cls):
                continue
            if not runs(ledger, spot.cls, path.spot) or not runs(ledger, holder, spot):
                continue
            for roles, same in ((TRAINED, TRAINED | {MULTIPLIER}), (LEARNED, LEARNED)):
                key = (path.spot.function, roles)
                missing = not has & same and any(s.role in roles and power > 0 for s, power in scale.powers)
                if missing and key not in seen:
                    seen.add(key)
                    step = next((s for s in reversed(steps) if _brings(s, roles)), None)
                    at = spot if step is None else step.spot
                    left = LeftOut(path, spot, roles, at, number if step is None else step.number)
                    if left.name not in path.fixed_fields:
                        yield left


def _tells_roles(ledger: Ledger, path: Application) -> bool:
    """Is the scale known, but for calls out of sight that get both factors and no number of the object?

    A number in it may be a literal alpha over a literal rank.
    """
    if any(branch.scale.coefficient != 1 for branch in path.branches):
        return False
    made = [reason.partition("(), which is out of sight and given both factors") for reason in path.reasons]
    given = ledger.once(_given_numbers) if made else set()
    return all(out_of_sight and name not in given for name, out_of_sight, _ in made)


def _given_numbers(ledger: Ledger) -> set[str]:
    """Calls out of sight that are given a number which is no literal: they may multiply by it."""
    return {
        use.called
        for use in ledger.uses
        if use.callee is None
        for value in use.given.values()
        for option in options(value)
        if (scale := scale_of(option.value)) is not None and scale.powers
    }


def _roles(ledger: Ledger, path: Application) -> set[str]:
    """What the delta is multiplied by; where that is not known, also what any look saw at the same steps."""
    has = {symbol.role for branch in path.branches for symbol, _ in branch.scale.powers}
    if path.reasons:
        nodes = {step.spot.node for branch in path.branches for step in branch.steps}
        looks = [step for step in ledger.multiplied if step.spot.node in nodes]
        looks += [step for branch in path.branches for step in branch.steps]
        has |= {symbol.role for step in looks for symbol, _ in step.scale.powers}
    return has


def _weight_ways(ledger: Ledger, family: Family) -> Iterator[Way]:
    normed = only_normed(ledger)
    for application in family.applications:
        if application.kind != "forward" and application.spot.node not in normed:
            for branch in application.branches:
                yield application.spot, branch.guards, branch.scale, branch.steps, None
    for given in family.returns:
        for option in options(given.value):
            value = option.value
            if isinstance(value, Tensor) and value.kind == "delta":
                yield given.spot, (*given.guards, *option.guards), value.scale, value.steps, None


def _ways_out_of_sight(ledger: Ledger, family: Family) -> Iterator[Way]:
    """Calls that are given factors of an object and the trained scale: ``make_kron(w1, w2, self.scale)``."""
    calls = ledger.once(_calls_out_of_sight)
    own = [numbered for cls in dict.fromkeys(family.members) for numbered in calls.get(cls, ())]
    for _, use, call in sorted(own, key=itemgetter(0)):
        given = [(name, option.value) for name, value in use.given.items() for option in options(value)]
        factors = {name for name, value in given if getattr(value, "kind", "") in _FACTORS}
        for name, value in given:
            scale = scale_of(value)
            if len(factors) > 1 and scale is not None and trained(scale):
                node = call.args[int(name)] if name.isdigit() and int(name) < len(call.args) else None
                yield use.spot, use.guards, scale, (), node


def _calls_out_of_sight(ledger: Ledger) -> dict[ClassInfo | None, list[tuple[int, Use, ast.Call]]]:
    """Calls of what is no function of the project, by the class in which they stand, with their order."""
    found: dict[ClassInfo | None, list[tuple[int, Use, ast.Call]]] = defaultdict(list)
    for number, use in enumerate(ledger.uses):
        if use.callee is None and isinstance(use.spot.node, ast.Call):
            found[use.spot.cls].append((number, use, use.spot.node))
    return found


def _brings(step: Multiplied, roles: frozenset[str]) -> bool:
    return any(symbol.role in roles for symbol, _ in step.scale.powers)


def made_by(ledger: Ledger, application: Application) -> Return | None:
    """What gives the delta to the sum, if that is one call of a method with one ``return``."""
    spot = application.spot
    chain = (*spot.chain, f"{spot.file.filename}:{spot.row}")
    found = [
        given
        for given in ledger.returns
        if given.spot.chain == chain
        and any(getattr(o.value, "kind", "") == "delta" for o in options(given.value))
    ]
    return found[0] if len({id(given.spot.node) for given in found}) == 1 else None
