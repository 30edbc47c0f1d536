"""Strengths that reach the delta on one branch of a function only."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.intent import APPLIES
from lorascale_lint.knowledge.interfaces import MESSAGES
from lorascale_lint.knowledge.roles import ALPHA, GATE, RANK, STRENGTH, STRENGTHS, words
from lorascale_lint.ledger.conditions import explains, expression, parting, partings
from lorascale_lint.ledger.ends import End, ends
from lorascale_lint.ledger.entries import Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import trained
from lorascale_lint.ledger.origins import last_of
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.linking.results import arms
from lorascale_lint.provenance.scale import ONE, Scale
from lorascale_lint.provenance.values import Multiplied, Place, options


@immutable(frozen=True, slots=True, eq=False)
class OneSidedStrength:
    """The delta has the strength called ``name`` at ``strong``, and not at ``weak``.

    ``condition`` is what parts the two, and whether it holds at ``weak``.
    """

    function: FunctionInfo
    name: str
    weak: End
    strong: End
    step: Multiplied
    condition: ast.expr
    holds: bool

    @property
    def asked(self) -> str:
        """The condition as it is written."""
        return ast.unparse(self.condition)


def one_sided_strengths(ledger: Ledger) -> Iterator[OneSidedStrength]:
    """One for each function; every scale of it must be known."""
    for function, own in ends(ledger).items():
        if function.file.is_test or any(end.scale.unknowns() for end in own):
            continue
        found = next(_pairs(function, own), None)
        if found is not None:
            yield found


def _pairs(function: FunctionInfo, own: list[End]) -> Iterator[OneSidedStrength]:
    given = [(end, name) for end in own if (name := _strength(end.scale))]
    strong = [(end, name) for end, name in given if trained(end.scale)]
    for weak in own:
        if any(symbol.role in STRENGTHS for symbol, _ in weak.scale.powers) or weak.scale.coefficient == 0:
            continue
        if any(parting(weak.guards, other.guards) is None for other, _ in given):
            continue  # the strength may be there as well, or a number that a field starts with in its place
        for other, name in strong:
            parted = parting(weak.guards, other.guards)
            node = None if parted is None else expression(parted[0])
            step = next((step for step in other.steps if _holds(step.scale, name)), None)
            if step is None or any(_read(step) <= _read(other) for other in weak.steps):
                continue  # it multiplies there, too, and is 1: what a field starts with
            explained = any(_explains(asked, name) for asked in partings(weak.guards, other.guards))
            if parted and node is not None and not explained:
                yield OneSidedStrength(function, name, weak, other, step, node, parted[1])


def _strength(scale: Scale) -> str:
    """The number that a caller chooses, if it is in the scale once."""
    found = [symbol.origin for symbol, power in scale.powers if symbol.role in STRENGTHS and power == 1]
    return found[0] if len(found) == 1 else ""


def _read(step: Multiplied) -> set[str]:
    """The names that the number of a step is made of."""
    nodes = ast.walk(step.number) if step.number is not None else ()
    return {getattr(node, "attr", getattr(node, "id", "")) for node in nodes} - {""}


def _holds(scale: Scale, origin: str) -> bool:
    """Asked by its origin: that a number is a strength is known of the whole scale only."""
    return any(symbol.origin == origin for symbol, _ in scale.powers)


def _explains(condition: str, strength: str) -> bool:
    """May the condition say why there is no strength? Whether alpha is known says nothing of it."""
    last = last_of(strength)
    return explains(condition, (*STRENGTHS, GATE), told=(ALPHA, RANK), named=last)


# ---- strengths that one of two calls gets ------------------------------------------------------


@immutable(frozen=True, slots=True, eq=False)
class LeftOnBranch:
    """``told`` is given the strength called ``name``; ``left``, on the other branch of its test, is not."""

    name: str
    told: Use
    left: Use


def left_on_branches(ledger: Ledger) -> Iterator[LeftOnBranch]:
    """Calls that apply an adapter on two branches, of which one is given the strength of it."""
    by_function: dict[FunctionInfo, list[Use]] = defaultdict(list)
    for use in ledger.uses:
        if use.spot.function is not None and not use.spot.chain and not use.spot.file.is_test:
            by_function[use.spot.function].append(use)
    for function, uses in by_function.items():
        told = [(use, name) for use in uses if _applies(use) and (name := _given_strength(use))]
        for use, name in told:
            here = arms(function, use.spot.node)[:1]
            last = last_of(name)
            if not here or last in ast.unparse(here[0][0].test):
                continue
            other = (here[0][0], not here[0][1])
            beside = [item for item in uses if other in arms(function, item.spot.node)]
            again = [item for item in uses if item is not use and _is_given(item, name)]
            left = next((item for item in beside if _applies(item)), None)
            asked = ast.unparse(here[0][0].test)
            if left is not None and not again and not _explains(asked, name):
                yield LeftOnBranch(name, use, left)
                break


def _applies(use: Use) -> bool:
    """Is it a call that is named after applying or loading LoRA?"""
    parts = words(use.called)
    return "lora" in parts and not APPLIES.isdisjoint(parts)


def _given_strength(use: Use) -> str:
    """What is given as a strength, if that is a number that somebody chose."""
    for value in use.given.values():
        for option in options(value):
            if isinstance(option.value, Place) and option.value.role == STRENGTH:
                return option.value.path
    return ""


def _is_given(use: Use, name: str) -> bool:
    """Does a call that is no message get the number?"""
    if use.called in MESSAGES:
        return False
    return any(
        name == getattr(option.value, "path", "")
        or any(symbol.origin == name for symbol, _ in getattr(option.value, "scale", ONE).powers)
        for value in use.given.values()
        for option in options(value)
    )
