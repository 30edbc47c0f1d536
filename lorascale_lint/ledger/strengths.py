"""Calls of libraries in which an argument is a strength, by the table of interfaces."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace

from lorascale_lint.knowledge.interfaces import STRENGTH_ARGUMENTS, StrengthArgument
from lorascale_lint.knowledge.roles import ALPHA, RANK, role_of
from lorascale_lint.ledger.entries import KeyWrite, Ledger, Spot, Use
from lorascale_lint.ledger.numbers import only_symbol, scale_of
from lorascale_lint.provenance.scale import Symbol
from lorascale_lint.provenance.values import Ref, Text, Tup, Value, options


@dataclass(frozen=True, slots=True, eq=False)
class GivenStrength:
    """A number that a library takes as a strength; ``spot`` is the argument."""

    use: Use
    argument: StrengthArgument
    value: Value
    spot: Spot


def given_strengths(ledger: Ledger) -> Iterator[GivenStrength]:
    """Each alternative of each strength that is given to a library, in the order of the ledger."""
    entries: dict[int, list[KeyWrite]] = defaultdict(list)
    for write in ledger.writes:
        if isinstance(write.container, Ref):
            entries[write.container.key].append(write)
    for use in ledger.uses:
        if use.callee is not None or not isinstance(use.spot.node, ast.Call):
            continue
        last = use.name.rpartition(".")[2]
        for argument in STRENGTH_ARGUMENTS:
            if argument.call not in ("", last) or argument.library not in use.spot.file.libraries:
                continue
            given = _given(use, argument)
            if given is None:
                continue
            value, node = given
            if argument.entry:
                held = entries[value.key] if isinstance(value, Ref) else []
                pairs = [(w.value, w.spot) for w in held if w.key == Text((argument.entry,))]
            else:
                pairs = [(value, replace(use.spot, node=node))]
            for found, spot in pairs:
                for one in found.items if isinstance(found, Tup) else (found,):
                    for option in options(one):
                        yield GivenStrength(use, argument, option.value, spot)


def _given(use: Use, argument: StrengthArgument) -> tuple[Value, ast.expr] | None:
    call = use.spot.node
    assert isinstance(call, ast.Call)
    for keyword in call.keywords:
        if keyword.arg in argument.keywords and keyword.arg in use.given:
            return use.given[keyword.arg], keyword.value
    place = argument.position
    if place is None or len(call.args) <= place or any(isinstance(a, ast.Starred) for a in call.args):
        return None
    found = use.given.get(str(place))
    return None if found is None else (found, call.args[place])


def alphas_in_use(ledger: Ledger) -> set[float]:
    """Literal alphas with which a layer or a configuration of the project is made, or is by default."""
    found: set[float] = set()
    for use in ledger.uses:
        for name, value in use.given.items():
            if role_of(name, True) == ALPHA:
                scale = scale_of(value)
                if scale is not None and scale.constant is not None:
                    found.add(float(scale.constant))
    for default in ledger.defaults:
        scale = scale_of(default.value)
        if role_of(default.name, True) == ALPHA and scale is not None and scale.constant is not None:
            found.add(float(scale.constant))
    return found


def used_as_alpha(ledger: Ledger) -> set[tuple[str, Symbol]]:
    """Numbers, by file, that a call is given as alpha beside a rank."""
    found: set[tuple[str, Symbol]] = set()
    for use in ledger.uses:
        roles = {role_of(name, True): value for name, value in use.given.items() if not name.isdigit()}
        if ALPHA in roles and RANK in roles:
            scale = scale_of(roles[ALPHA])
            symbol = None if scale is None else only_symbol(scale)
            if symbol is not None:
                found.add((use.spot.file.filename, symbol))
    return found
