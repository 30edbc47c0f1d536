"""Strengths that a function asks for, and that reach none of the deltas that it makes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.findings import Confidence
from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import ALPHA, STRENGTH, STRENGTHS, role_of
from lorascale_lint.ledger.ends import End, ends
from lorascale_lint.ledger.entries import Apply, Unused, argument_of
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import ByFunction, calls_of
from lorascale_lint.ledger.numbers import only_symbol, scale_of, trained
from lorascale_lint.ledger.origins import root_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.scale import Scale, undivided
from lorascale_lint.provenance.values import NONE, Number, Place, Tensor, Tup, Value, options


@immutable(frozen=True, slots=True, eq=False)
class IgnoredStrength:
    """``name`` is a parameter of ``function``; ``caller`` a call that gives it, if one is in sight."""

    function: FunctionInfo
    name: str
    end: End | Apply
    declared: Spot
    caller: Spot | None

    @property
    def confidence(self) -> Confidence:
        """Whether somebody asks for a strength; else the parameter may be there for an interface."""
        return "medium" if self.caller is None else "high"


def ignored_strengths(ledger: Ledger) -> Iterator[IgnoredStrength]:
    """Parameters that only tests and messages read, where every delta is understood and one is trained."""
    made = ends(ledger)
    for entry in ledger.only_tested:
        function, name = entry.spot.function, entry.parameter
        role = role_of(name, True)
        if function is None or function.file.is_test or role not in (STRENGTH, ALPHA):
            continue
        giver = _giver(ledger, function, name) if role == STRENGTH else _share(ledger, function, name)
        if role == ALPHA and giver is None:
            continue  # the trained alpha: other rules tell who leaves it out
        own: list[End | Apply] = [*made.get(function, ())] or [*_called(ledger, function)]
        known = own and not any(end.scale.unknowns() for end in own)
        if known and any(trained(end.scale) for end in own):
            yield IgnoredStrength(function, name, own[0], entry.spot, giver)


@immutable(frozen=True, slots=True, eq=False)
class TakenTwice:
    """``second`` is the argument that gives a call the strength ``name`` again; ``lost`` reaches none."""

    lost: Unused
    name: str
    first: Spot
    second: Spot


def taken_twice(ledger: Ledger) -> Iterator[TakenTwice]:
    """Functions of two strengths that give one of them to calls of one name twice, and the other to none."""
    for lost in ledger.only_tested:
        function = lost.spot.function
        if function is None or function.file.is_test or lost.role != STRENGTH:
            continue
        unread = {entry.parameter for entry in ledger.only_tested if entry.spot.function is function}
        for name in function.parameters:
            if role_of(name, True) != STRENGTH or name in unread:
                continue
            given: dict[str, list[Spot]] = defaultdict(list)
            for use in ledger.once(ByFunction).uses.get(function, ()):
                if not use.spot.chain and ("." in use.name or use.callee is not None):
                    places = [
                        argument_of(use, key) for key, value in use.given.items() if comes_from(value, name)
                    ]
                    given[use.called] += [place for place in places if place is not None]
            for found in given.values():
                several = list({place.node: place for place in found}.values())
                if len(several) > 1:
                    yield TakenTwice(lost, name, several[0], several[1])


def comes_from(value: Value, name: str) -> bool:
    """Is the number that is called ``name`` in the value, or multiplied onto it?"""
    for option in options(value):
        match option.value:
            case Place(path=path):
                found = root_of(path) == name
            case Number(scale=scale) | Tensor(scale=scale):
                found = _holds(scale, name)
            case Tup(items=items):
                found = any(comes_from(item, name) for item in items)
            case _:
                found = False
        if found:
            return True
    return False


def _holds(scale: Scale, name: str) -> bool:
    return any(symbol.origin == name for symbol, _ in scale.powers)


def _called(ledger: Ledger, function: FunctionInfo) -> Iterator[Apply]:
    """Where the functions that ``function`` calls apply a delta for it."""
    for entry in ledger.applies:
        if entry.spot.chain and entry.spot.chain[0] in function.steps:
            yield entry


def _share(ledger: Ledger, function: FunctionInfo, name: str) -> Spot | None:
    """A call that gives an ``alpha`` which is 1 by default, or less: a strength by another name."""
    for use in calls_of(ledger, function):
        value = use.given.get(name) if not use.spot.file.is_test else None
        for option in options(value) if value is not None else ():
            scale = scale_of(option.value)
            symbol = None if scale is None else only_symbol(undivided(scale))
            if symbol is not None and symbol.role in STRENGTHS:
                return use.spot
    return None


def _giver(ledger: Ledger, function: FunctionInfo, name: str) -> Spot | None:
    """A call that gives something else than None or 1."""
    for use in calls_of(ledger, function):
        if name in use.given and not use.spot.file.is_test:
            value = use.given[name]
            plain = value == NONE or (isinstance(value, Number) and value.scale.constant == 1)
            if not plain:
                return use.spot
    return None
