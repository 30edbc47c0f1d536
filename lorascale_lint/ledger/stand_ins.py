"""Literals that stand in for the alpha of a module that has none."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import ALPHA, FACTORS, RANK, role_of
from lorascale_lint.ledger.conditions import is_none
from lorascale_lint.ledger.defaults import Defaults
from lorascale_lint.ledger.entries import KeyRead, KeyWrite, Quotient, Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import quotient_scales, scale_of, symbol_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import key_role_of, tables
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.guards import Guards, contradict
from lorascale_lint.provenance.marks import FILLED
from lorascale_lint.provenance.scale import ONE, STAND_IN, Scale, Symbol, is_share
from lorascale_lint.provenance.values import Const, Number, Text, Tup, Value, options


@immutable(frozen=True, slots=True, eq=False)
class StandIn:
    """The literal at ``spot`` where an alpha (``origin``) is missing; ``guards`` say when.

    ``used`` is the quotient by a rank, or the entry of a file that it is written to.
    """

    spot: Spot
    number: float
    origin: str
    guards: Guards
    used: Quotient | KeyWrite

    @property
    def is_strength_option(self) -> bool:
        """Is it the default of an option of the command line, and one that is meant as a strength?"""
        return isinstance(self.spot.node, ast.Call) and is_share(self.number)


def divided_stand_ins(ledger: Ledger) -> list[StandIn]:
    """Literals that are divided by a rank where an alpha is missing, each once."""
    found: dict[tuple[str, int, int], StandIn] = {}
    own, ranks, calls = _own(ledger, ALPHA), _own(ledger, RANK), _calls(ledger)
    for quotient in ledger.quotients:
        ways = [(option.value, option.guards) for option in options(quotient.result)]
        if any(_is_rank_by_rank(value) and not is_none(guards) for value, guards in ways):
            continue  # the table has been given the rank where an alpha was missing
        if _has_default(quotient.by, ranks):
            continue  # the rank has a default of its own: settings of a new layer, and no file
        for value, guards in ways:
            spot = value.spot if isinstance(value, Number) and _is_number_by_rank(value.scale) else None
            number = None if spot is None else literal(spot.node)
            if spot is None or number is None:
                continue
            known = own | {f"self.{name}" for name in unfilled(guards)} | _left_out(quotient, guards, calls)
            alpha = next((a for other, _ in ways if (a := _alpha_by_rank(other, known))), None)
            if alpha is not None:
                place = (spot.file.filename, spot.row, getattr(spot.node, "col_offset", 0))
                found.setdefault(place, StandIn(spot, number, alpha, guards, quotient))
    return list(found.values())


def default_stand_ins(ledger: Ledger) -> Iterator[StandIn]:
    """Defaults of options, fields and parameters that are divided by a rank where a module has no alpha."""
    own, ranks, defaults = _own(ledger, ALPHA), _own(ledger, RANK), Defaults(ledger)
    for quotient in ledger.quotients:
        if _has_default(quotient.by, ranks):
            continue  # patterns beside a configuration: each has the other's way out
        ways = [(option.value, option.guards) for option in options(quotient.result)]
        alpha = next((a for value, _ in ways if (a := _alpha_by_rank(value, own))), None)
        for value, guards in ways if alpha is not None else ():
            scale = scale_of(value)
            chosen = [s for s, power in scale.powers if s.role == ALPHA and power == 1] if scale else []
            for symbol in chosen if alpha != _alpha_by_rank(value, own) else ():
                for default in defaults.of(symbol.origin, quotient.spot):
                    several = default.value.items if isinstance(default.value, Tup) else (default.value,)
                    number = scale_of(several[0]) if len(several) == 1 else None
                    if number is not None and number.constant and alpha is not None:
                        yield StandIn(default.spot, float(number.constant), alpha, guards, quotient)


def settled_for_files(ledger: Ledger) -> Iterator[StandIn]:
    """Defaults of options, fields and parameters that are divided by the rank of a file's own factors."""
    defaults = Defaults(ledger)
    for quotient in ledger.quotients:
        for scale, guards in quotient_scales(quotient) if not quotient.spot.chain else ():
            alphas = [s for s, power in scale.powers if s.role == ALPHA and power == 1]
            of_file = any(_is_of_a_file(s.origin) and power < 0 for s, power in scale.powers)
            known = defaults.of(alphas[0].origin, quotient.spot) if len(alphas) == 1 and of_file else []
            numbers = [number.constant for d in known if (number := scale_of(d.value)) is not None]
            if numbers and all(number and not is_share(number) for number in numbers):
                yield StandIn(known[0].spot, float(numbers[0] or 0), alphas[0].origin, guards, quotient)


def _is_of_a_file(origin: str) -> bool:
    """Is it the rank of a factor that is looked up in an opened file?"""
    return " of " in origin and "<file(" in origin


def written_stand_ins(ledger: Ledger) -> Iterator[StandIn]:
    """Literals that are written as the alpha of modules without one, beside both factors."""
    settings = _of_settings(ledger)
    for table in tables(ledger):
        if not all(table.by_role(side) for side in FACTORS):
            continue
        for write in table.by_role(ALPHA):
            ways = options(write.value)
            alpha = next((a.origin for way in ways if (a := _only(way.value, ALPHA)) is not None), None)
            if alpha in settings:
                continue  # the number with which the layer is trained
            for way in ways if alpha is not None else ():
                plain = isinstance(way.value, Number) and way.value.scale.constant
                spot = way.value.spot if plain and isinstance(way.value, Number) else None
                number = None if spot is None else literal(spot.node)
                if spot is not None and number and way.guards and alpha is not None:
                    yield StandIn(spot, number, alpha, way.guards, write)


def asked_afterwards(ledger: Ledger, found: StandIn) -> bool:
    """Is the key of the alpha tested behind the quotient, so that what is made of the literal is not used?"""
    read = [r for r in ledger.reads if any(_is_alpha_of(o.value, found.origin) for o in options(r.value))]
    keys = {item.key for item in read}
    return any(
        item.how == "in" and item.key in keys and item.spot.row > found.used.spot.row
        for item in ledger.reads
        if item.spot.function is found.used.spot.function and not item.spot.chain
    )


def never_missing(ledger: Ledger, found: StandIn) -> Spot | None:
    """Where the alpha is asked for None, which it can't be since the literal stands in for it."""
    for ask in ledger.asks:
        values = [option.value for option in options(ask.value)]
        stands_in = any(isinstance(value, Number) and value.spot is found.spot for value in values)
        if ask.how == "none" and stands_in and not any(isinstance(value, Const) for value in values):
            return ask.spot
    return None


def _has_default(rank: Value, own: set[str]) -> bool:
    """Is the rank read from something on one way, and a literal or a setting of all modules on another?

    The setting is what is taken where the table of ranks has no entry for the module.
    """
    ways = options(rank)
    spots = [getattr(way.value, "spot", None) for way in ways]
    if len(ways) > 1 and any(spot is not None and literal(spot.node) is not None for spot in spots):
        return True
    scales = [(way.guards, scale) for way in ways if (scale := scale_of(way.value)) is not None]
    ranks = [(guards, s.origin) for guards, scale in scales for s, _ in scale.powers if s.role == RANK]
    return any(
        origin in own and contradict(guards, others) for guards, origin in ranks for others, _ in ranks
    )


def _is_alpha_of(value: Value, origin: str) -> bool:
    symbol = _only(value, ALPHA)
    return symbol is not None and symbol.origin == origin


def unfilled(guards: Guards) -> set[str]:
    """Fields of a record that hold under ``guards`` what they started with."""
    return {name.removesuffix(FILLED) for name, holds in guards if name.endswith(FILLED) and not holds}


def literal(node: ast.AST) -> float | None:
    """The number that is spelled at ``node``."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value)
    return None


def _own(ledger: Ledger, role: str) -> set[str]:
    """Origins of alphas or ranks that each module has its own of.

    They are read under a computed key, or under a plain one from a table that holds both factors of a module.
    """
    plain = [read for read in ledger.reads if isinstance(read.key, Text) and read.key.literal]
    sides: dict[Value, set[str | None]] = defaultdict(set)
    for read in plain:
        sides[read.container].add(key_role_of(read.key))
    of_the_whole = {read for read in plain if not sides[read.container] >= FACTORS}
    found = (
        _only(option.value, role)
        for read in ledger.reads
        if read not in of_the_whole
        for option in options(read.value)
    )
    return {symbol.origin for symbol in found if symbol is not None}


def _of_settings(ledger: Ledger) -> set[str]:
    """Origins of alphas that are read beside a rank from a table without factors: those of new layers."""
    tables_read: dict[Value, list[KeyRead]] = defaultdict(list)
    for read in ledger.reads:
        if isinstance(read.key, Text) and read.key.literal:
            tables_read[read.container].append(read)
    found: set[str] = set()
    for reads in tables_read.values():
        values = [option.value for read in reads for option in options(read.value)]
        ranked = any(_only(value, RANK) is not None for value in values)
        if ranked and not FACTORS & {key_role_of(read.key) for read in reads}:
            found |= {symbol.origin for value in values if (symbol := _only(value, ALPHA)) is not None}
    return found


def _only(value: Value, role: str) -> Symbol | None:
    symbol = symbol_of(value)
    return symbol if symbol is not None and symbol.role == role else None


def _alpha_by_rank(value: Value, known: set[str]) -> str:
    """The origin of alpha in alpha / rank, if it is a module's own one; else nothing."""
    scale = scale_of(value)
    if scale is None or not _by_rank(scale):
        return ""
    for symbol, power in scale.powers:
        if symbol.role == ALPHA and power == 1 and ("{" in symbol.origin or symbol.origin in known):
            return symbol.origin
    return ""


def _is_number_by_rank(scale: Scale) -> bool:
    return _by_rank(scale) and not any(symbol.role in (ALPHA, "") for symbol, _ in scale.powers)


def _is_rank_by_rank(value: Value) -> bool:
    if not isinstance(value, Number):
        return False
    stands_in = [symbol for symbol, _ in value.scale.powers if symbol.origin.startswith(STAND_IN)]
    return value.scale.by_role() == ONE or bool(stands_in)  # also that of another module


def _by_rank(scale: Scale) -> bool:
    return any(symbol.role == RANK and power < 0 for symbol, power in scale.powers)


def _calls(ledger: Ledger) -> dict[FunctionInfo, list[Use]]:
    found: dict[FunctionInfo, list[Use]] = defaultdict(list)
    for use in ledger.uses:
        if isinstance(use.callee, FunctionInfo):
            found[use.callee].append(use)
    return found


def _left_out(quotient: Quotient, guards: Guards, calls: dict[FunctionInfo, list[Use]]) -> set[str]:
    """Alphas that a function is not always given beside both factors, where it asks for None.

    A function that makes the factors itself is a trainer, and the default its own choice.
    """
    function = quotient.spot.function
    if function is None or quotient.spot.chain:
        return set()
    arguments = function.node.args
    names = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    if not {role_of(name, True) for name in names} >= FACTORS:
        return set()
    asked = {name for name in names if any(a.startswith(f"{name}@") and holds for a, holds in guards)}
    uses = calls[function]
    return {name for name in asked if not uses or not all(name in use.given for use in uses)}
