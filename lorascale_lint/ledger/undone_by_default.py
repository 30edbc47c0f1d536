"""Deltas that are added at a number which is given, and taken back by a call that leaves it out."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.members import AROUND_A_BLOCK
from lorascale_lint.ledger.entries import Apply, Use, argument_of
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import scale_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.scale import Scale
from lorascale_lint.provenance.values import Place, Union, Value


@immutable(frozen=True, slots=True, eq=False)
class LeftAtDefault:
    """``done`` gives ``parameter`` at ``given``, and ``undone`` leaves it out, so that it is ``default``."""

    done: Use
    undone: Use
    parameter: str
    given: Spot
    default: float
    merge: Apply
    unmerge: Apply

    @property
    def told(self) -> str:
        """What is given, as it is written."""
        return ast.unparse(self.given.node)


def left_at_default(ledger: Ledger) -> Iterator[LeftAtDefault]:
    """One for each call that undoes."""
    passing = _passing(ledger)
    calls: dict[object, list[Use]] = defaultdict(list)
    for use in ledger.uses if passing else ():
        made = isinstance(use.callee, FunctionInfo) and isinstance(use.spot.node, ast.Call)
        if made and _place(use) in passing:
            calls[use.spot.chain].append(use)
    seen: set[ast.AST] = set()
    for beside in calls.values():
        for done in beside:
            for undone in beside:
                if undone.spot.node in seen or not _are_a_pair(done, undone):
                    continue
                found = _found(done, undone, passing)
                if found is not None:
                    seen.add(undone.spot.node)
                    yield found


def _passing(ledger: Ledger) -> dict[str, list[Apply]]:
    """Merges and unmerges by the calls on the way to them, if both kinds are there."""
    found: dict[str, list[Apply]] = defaultdict(list)
    kinds = {entry.kind for entry in ledger.applies}
    for entry in ledger.applies if kinds >= {"merge", "unmerge"} else ():
        for place in entry.spot.chain:
            found[place].append(entry)
    return found


def _place(use: Use) -> str:
    return f"{use.spot.file.filename}:{use.spot.row}"


def _are_a_pair(done: Use, undone: Use) -> bool:
    """Are both methods of one thing, called one behind the other in one function, or around a block?"""
    one, two = done.spot.function, undone.spot.function
    if done.spot.file.is_test or done is undone or done.receiver != undone.receiver:
        return False
    if done.callee is undone.callee or _owner(done) is not _owner(undone):
        return False
    if one is two:
        return done.spot.row < undone.spot.row
    if one is None or two is None or one.owner is not two.owner:
        return False
    return AROUND_A_BLOCK.get(one.name) == two.name


def _owner(use: Use) -> object:
    """The class of a method, or the file of a function."""
    callee = use.callee
    return (callee.owner or callee.file) if isinstance(callee, FunctionInfo) else use


def _found(done: Use, undone: Use, passing: dict[str, list[Apply]]) -> LeftAtDefault | None:
    assert isinstance(undone.callee, FunctionInfo)
    for name, node in undone.callee.defaults.items():
        default = node.value if isinstance(node, ast.Constant) else None
        given = argument_of(done, name)
        if isinstance(default, bool) or not isinstance(default, int | float) or name in undone.given:
            continue
        value = done.given.get(name)
        if given is None or value is None or isinstance(value, Union) or undone.hidden or not default:
            continue
        if name not in undone.callee.names_read:
            continue
        for merge in passing[_place(done)]:
            for unmerge in passing[_place(undone)]:
                if (merge.kind, unmerge.kind, merge.factors) != ("merge", "unmerge", unmerge.factors):
                    continue
                if _is_the_rest(value, name, Fraction(default), merge, unmerge):
                    return LeftAtDefault(done, undone, name, given, float(default), merge, unmerge)
    return None


def _is_the_rest(value: Value, name: str, default: Fraction, merge: Apply, unmerge: Apply) -> bool:
    """Is what was added more than what is taken back by the number that was given, and by nothing else?"""
    taken = _without(unmerge.scale, name)
    if taken is None:  # the default is a number there
        taken = Scale(unmerge.scale.coefficient / default, unmerge.scale.powers)
    known = scale_of(value)
    if known is not None and known.constant is not None:
        added = Scale(merge.scale.coefficient / (known.constant or 1), merge.scale.powers)
        return known.constant not in (0, default) and added == taken
    origin = value.path if isinstance(value, Place) else ""
    if known is not None and len(known.powers) == 1 and known.coefficient == 1:
        origin = known.powers[0][0].origin
    return _without(merge.scale, origin) == taken


def _without(scale: Scale, origin: str) -> Scale | None:
    """What is left of a scale without the number that comes from there; None if it is not in it, once."""
    found = [(symbol, power) for symbol, power in scale.powers if symbol.origin == origin]
    if len(found) != 1 or found[0][1] != 1:
        return None
    return Scale(scale.coefficient, tuple(item for item in scale.powers if item != found[0]))
