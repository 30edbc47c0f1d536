"""Calls of libraries in which an argument is a strength, by the table of interfaces."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Iterator

from lorascale_lint.immutable import immutable, replace
from lorascale_lint.knowledge.interfaces import StrengthArgument, looks_like_alpha, strength_arguments
from lorascale_lint.knowledge.roles import ALPHA, RANK, role_of, words
from lorascale_lint.ledger import entries
from lorascale_lint.ledger.entries import KeyWrite, Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import every_number, named_outright, number_origins, scale_of, symbol_of
from lorascale_lint.ledger.origins import last_of, owner_of
from lorascale_lint.ledger.own_multipliers import own_multipliers
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import key_role_of
from lorascale_lint.provenance.scale import Symbol
from lorascale_lint.provenance.values import Ref, Text, Tup, Value, options


@immutable(frozen=True, slots=True, eq=False)
class GivenStrength:
    """A number that a library takes as a strength; ``spot`` is the argument, or one of several in a list."""

    use: Use
    argument: StrengthArgument
    value: Value
    spot: Spot
    single: bool = True
    """Is it the argument itself, and no part of one?"""

    @property
    def is_own(self) -> bool:
        """Is it given to a function or class of the project?"""
        return self.argument.library == OWN


def given_strengths(ledger: Ledger) -> tuple[GivenStrength, ...]:
    """Each alternative of each strength that is given to a library, in the order of the ledger."""
    return ledger.once(_all_given)


def _all_given(ledger: Ledger) -> tuple[GivenStrength, ...]:
    return (*_given(ledger), *_given_to_own(ledger))


OWN = "this project"
"""The library of a function that the project defines itself."""


def _given_to_own(ledger: Ledger) -> Iterator[GivenStrength]:
    """What functions of the project are given that they multiply onto deltas with their trained scale."""
    taken = own_multipliers(ledger)
    for use in ledger.uses if taken else ():
        callee = use.callee
        for parameter in taken.get(callee, ()) if callee is not None else ():
            place = entries.argument_of(use, parameter)
            if parameter in use.given and place is not None and callee is not None:
                argument = StrengthArgument(OWN, callee.name, (parameter,), None)
                for option in options(use.given[parameter]):
                    yield GivenStrength(use, argument, option.value, place)


def _given(ledger: Ledger) -> Iterator[GivenStrength]:
    held_in: dict[int, list[KeyWrite]] = defaultdict(list)
    for write in ledger.writes:
        if isinstance(write.container, Ref):
            held_in[write.container.key].append(write)
    for use in ledger.uses:
        if use.callee is not None or not isinstance(use.spot.node, ast.Call):
            continue
        last = use.called
        for argument in strength_arguments():
            if argument.call not in ("", last) or argument.library not in use.spot.file.libraries:
                continue
            given = argument_of(use, argument)
            if given is None:
                continue
            value, node = given
            if argument.entry:
                held = held_in[value.key] if isinstance(value, Ref) else []
                pairs = [(w.value, w.spot) for w in held if w.key == Text((argument.entry,))]
            else:
                pairs = [(value, replace(use.spot, node=node))]
            for found, spot in pairs:
                single = not isinstance(found, Tup) and not argument.entry
                for one, place in _each(found, spot):
                    for option in options(one):
                        yield GivenStrength(use, argument, option.value, place, single)


def _each(found: Value, spot: Spot) -> Iterator[tuple[Value, Spot]]:
    """The value, or each of several, and where it stands."""
    if not isinstance(found, Tup):
        yield found, spot
        return
    nodes = spot.node.elts if isinstance(spot.node, ast.List | ast.Tuple) else []
    for index, item in enumerate(found.items):
        yield item, replace(spot, node=nodes[index]) if len(nodes) == len(found.items) else spot


def argument_of(use: Use, argument: StrengthArgument) -> tuple[Value, ast.expr] | None:
    """What a call gives for an argument of a library, and where that stands."""
    call = use.spot.node
    if not isinstance(call, ast.Call):
        return None
    places = {keyword.arg: keyword.value for keyword in call.keywords}
    for name in argument.keywords:
        if name in use.given:
            return use.given[name], places.get(name, call)  # the call itself for one behind two stars
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


Variable = tuple[str, str, str]
"""A number by file, the function or class to which its name belongs (empty: any), and origin."""


def variable(symbol: Symbol, spot: Spot) -> Variable:
    """Which number ``symbol`` is to code at ``spot``: equal names of two functions are two numbers."""
    head, dot, _ = symbol.origin.partition(".")
    scope = ""
    if not dot and spot.function is not None:
        scope = spot.function.qualname
    elif head == "self" and spot.cls is not None:
        scope = spot.cls.name
    return (spot.file.filename, scope, symbol.origin)


def real_uses(ledger: Ledger) -> dict[Variable, str]:
    """Numbers that the code uses as alpha beside a rank, or as the rank beside an alpha.

    Both are arguments of one call (`LoraConfig(r=..., lora_alpha=...)`), or alpha is divided by the rank. A
    number that is used as both is none of them.
    """
    return ledger.once(_real_uses)


def _real_uses(ledger: Ledger) -> dict[Variable, str]:
    found: dict[Variable, set[str]] = defaultdict(set)
    for use in ledger.uses:
        roles = {role_of(name, True): value for name, value in use.given.items() if not name.isdigit()}
        if ALPHA in roles and RANK in roles:
            for role in (ALPHA, RANK):
                symbol = symbol_of(roles[role])
                if symbol is not None:
                    found[variable(symbol, use.spot)].add(role)
    for scale, spot in every_number(ledger):
        alphas = [s for s, power in scale.powers if s.role == ALPHA and power == 1]
        ranks = [s for s, power in scale.powers if s.role == RANK and power < 0]
        if alphas and ranks:
            for symbol in (*alphas, *ranks):
                found[variable(symbol, spot)].add(symbol.role)
    return {number: roles.pop() for number, roles in found.items() if len(roles) == 1}


def _looked_up_alphas(ledger: Ledger) -> dict[ast.AST, bool]:
    """Where a number is looked up under the name of an alpha: is a rank in the same table, too?"""
    beside = {w.container for w in ledger.writes if key_role_of(w.key) == RANK}
    beside |= {r.container for r in (*ledger.reads, *ledger.parts) if key_role_of(r.key) == RANK}
    return {
        read.spot.node: all(o.value in beside for o in options(read.container))
        for read in ledger.reads
        if key_role_of(read.key) == ALPHA
    }


def _has_rank_beside(given: GivenStrength, alpha: Symbol) -> bool:
    """Does the call get the rank of the same settings, too?"""
    ranks = [value for name, value in given.use.given.items() if role_of(name, True) == RANK]
    owners = {owner_of(origin) for value in ranks for origin in number_origins(value)}
    return bool(owner_of(alpha.origin)) and owner_of(alpha.origin) in owners


def no_strengths(ledger: Ledger) -> Callable[[GivenStrength], str | None]:
    """What is given instead of a strength, in words, or None."""
    uses, looked_up = real_uses(ledger), _looked_up_alphas(ledger)

    def told(given: GivenStrength) -> str | None:
        scale, own = scale_of(given.value), given.argument.library == OWN
        if scale is None or (own and (scale.constant is not None or given.use.spot.chain)):
            return None
        if scale.constant is not None:
            number = float(scale.constant)
            shown = given.argument.integers or given.spot.node in looked_up
            return f"{number:g}, an alpha" if shown and looks_like_alpha(number) else None
        if len(scale.powers) != 1 or scale.coefficient != 1:
            return None
        symbol, power = scale.powers[0]
        called = named_outright(symbol) or words(last_of(symbol.origin)) == (RANK,)
        role = RANK if symbol.role == RANK and called else uses.get(variable(symbol, given.spot))
        if looked_up.get(given.spot.node):
            role = role or ALPHA
        if own and power == 1 and symbol.role == ALPHA and _has_rank_beside(given, symbol):
            return "an alpha"
        if own:
            return "a rank" if role == RANK and power == 1 else None
        if power != 1:
            return None if role != RANK else "1 / rank" if power == -1 else "a power of the rank"
        return {ALPHA: "an alpha", RANK: "a rank"}.get(role or "")

    return told
