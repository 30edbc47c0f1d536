"""Ranks that somebody chooses beside an alpha that nobody can, and alphas made up beside a file's factors."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.intent import OF_ADAPTERS
from lorascale_lint.knowledge.interfaces import (
    ADAPTER_FIELDS,
    ADAPTER_TYPE,
    DEFAULT_ALPHA,
    DEFAULT_ALPHAS,
    WRITES_TEXT,
)
from lorascale_lint.knowledge.roles import ALPHA, FACTORS, NUMBERS, RANK, role_of, words
from lorascale_lint.knowledge.speech import speaks_of_lora
from lorascale_lint.ledger.entries import Use, argument_of
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.left_at_default import LeftAlpha, left_alphas, written_after
from lorascale_lint.ledger.numbers import quotient_scales, scale_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import literal_of, tables
from lorascale_lint.linking.definitions import ClassInfo
from lorascale_lint.provenance.scale import is_share
from lorascale_lint.provenance.values import Const, Number, Place, Text, Value, options


@immutable(frozen=True, slots=True, eq=False)
class ChosenRank:
    """At ``spot`` the rank is chosen, and alpha stays at ``default``, declared at ``declared``."""

    spot: Spot
    default: float
    declared: Spot | None
    told: str


def chosen_ranks(ledger: Ledger) -> Iterator[ChosenRank]:
    """Configurations and calls that get a rank and leave alpha, and settings that have no alpha at all."""
    yield from _configurations(ledger)
    for left in left_alphas(ledger):
        given = [spot or left.use.spot for _, value, spot in left.ranks() if _is_chosen(value)]
        default = left.default
        plain = isinstance(default, int | float) and not isinstance(default, bool)
        fixed = plain and (not is_share(default) or _is_rebuilt(ledger, left))
        if given and fixed and default and speaks_of_lora(left.target.file.source):
            yield ChosenRank(given[0], float(default), left.declared, left.target.name)  # type: ignore[arg-type]
    yield from _records(ledger)
    yield from _settings(ledger)
    yield from _written(ledger)


def _records(ledger: Ledger) -> Iterator[ChosenRank]:
    """Layers whose fields are declared, as in flax and dataclasses, that are made without their alpha."""
    starts = {
        (default.spot.cls, default.name): default
        for default in ledger.defaults
        if default.how == "field" and role_of(default.name, True) == ALPHA
    }
    dividing = {
        quotient.spot.cls
        for quotient in ledger.quotients
        for scale, _ in quotient_scales(quotient)
        if {(s.role, power) for s, power in scale.powers} >= {(ALPHA, 1), (RANK, -1)}
    }
    set_later = {store.field for store in ledger.stores}
    seen: set[ast.AST] = set()
    for use in ledger.uses:
        cls, call = use.callee, use.spot.node
        if not isinstance(cls, ClassInfo) or cls not in dividing or call in seen or use.spot.file.is_test:
            continue
        alphas = [start for (owner, _), start in starts.items() if owner in ledger.lineage(cls)]
        if len(alphas) != 1 or alphas[0].name in use.given or alphas[0].name in set_later or use.hidden:
            continue
        made = scale_of(alphas[0].value)
        number = made.constant if made is not None else None
        ranks = [name for name in use.given if role_of(name, True) == RANK and _is_chosen(use.given[name])]
        if number and not is_share(number) and ranks and speaks_of_lora(cls.file.source):
            seen.add(call)
            spot = argument_of(use, ranks[0]) or use.spot
            yield ChosenRank(spot, float(number), alphas[0].spot, cls.name)


def _is_rebuilt(ledger: Ledger, left: LeftAlpha) -> bool:
    """Is a layer that divides alpha made with the rank of a factor that is there, and not told it after?"""
    ranks = [scale for _, value, _ in left.ranks() for o in options(value) if (scale := scale_of(o.value))]
    of_factor = any(s.role == RANK and " of " in s.origin for scale in ranks for s, _ in scale.powers)
    divides = any(
        {(s.role, power) for s, power in scale.powers} >= {(ALPHA, 1), (RANK, -1)}
        for quotient in ledger.quotients
        if quotient.spot.cls is left.target.owner and left.target.owner is not None
        for scale, _ in quotient_scales(quotient)
    )
    return of_factor and divides and not any(written_after(ledger, left, f) for f in left.stored(ledger))


def _written(ledger: Ledger) -> Iterator[ChosenRank]:
    """Settings of an adapter that are written as text, with a rank and without an alpha."""
    for table in tables(ledger):
        ranks, types = table.by_role(RANK), table.named(ADAPTER_TYPE)
        if not types or len(ranks) != 1 or table.by_role(ALPHA) or types[0].spot.file.is_test:
            continue
        known = all(literal_of(write.key) for write in table.writes) and not _is_spread(types[0].spot)
        written = table.goes_to(WRITES_TEXT)
        handed = any(use.callee is not None for use in table.uses)
        if known and written and not handed and _is_chosen(ranks[0].value):
            yield ChosenRank(ranks[0].spot, DEFAULT_ALPHA, None, "adapter_config.json")


def _is_spread(spot: Spot) -> bool:
    """Are entries of another dictionary put into one around, behind two stars or by ``update``?"""
    for node in ast.walk(spot.function.node if spot.function is not None else spot.file.tree):
        match node:
            case ast.Dict(keys=keys) if None in keys:
                return True
            case ast.keyword(arg=None) | ast.Call(func=ast.Attribute(attr="update"), args=[_, *_]):
                return True
            case _:
                pass
    return False


def _configurations(ledger: Ledger) -> Iterator[ChosenRank]:
    seen: set[ast.AST] = set()
    for use in ledger.uses:
        call = use.spot.node
        name = use.called
        if name not in DEFAULT_ALPHAS or use.callee is not None or use.spot.file.is_test:
            continue
        if not isinstance(call, ast.Call) or call in seen or use.hidden or use.spot.chain:
            continue
        roles = {role_of(key, True) for key in use.given}
        if ALPHA in roles or RANK not in roles or not _is_chosen(use.given.get("r")):
            continue
        seen.add(call)
        yield ChosenRank(argument_of(use, "r") or use.spot, DEFAULT_ALPHAS[name], None, name)


def _settings(ledger: Ledger) -> Iterator[ChosenRank]:
    """Records of PEFT's options, by their names, among which is a rank and no alpha."""
    for default in ledger.defaults:
        file = default.spot.file
        cls = file.classes.get(default.owner)
        if default.how != "field" or cls is None or file.is_test or role_of(default.name, True) != RANK:
            continue
        fields = {name for item in ledger.lineage(cls) for name in item.attributes}
        options_ = {name for name in fields & ADAPTER_FIELDS if name.startswith("target")}
        others = {role for name in fields if (role := role_of(name, True)) in NUMBERS - {RANK}}
        named = OF_ADAPTERS & set(words(cls.name))
        if options_ and named and not others:
            yield ChosenRank(default.spot, DEFAULT_ALPHA, None, cls.name)


def _is_chosen(value: Value | None) -> bool:
    """Is a rank given that is no literal, or may be another one?"""
    if value is None:
        return False
    found = [option.value for option in options(value)]
    return any(
        isinstance(item, Place) or (isinstance(item, Number) and item.scale.constant is None)
        for item in found
    ) and not any(isinstance(item, Const) for item in found)


def _speaks(*texts: str) -> bool:
    return any("lora" in text.lower() for text in texts)


@immutable(frozen=True, slots=True, eq=False)
class MadeUpAlpha:
    """A literal alpha that ``use`` gives with the tensors of a file, and with no rank."""

    use: Use
    spot: Spot
    number: float


def made_up_alphas(ledger: Ledger) -> Iterator[MadeUpAlpha]:
    """Calls that are given all tensors of an adapter file and a number above 1 as their alpha."""
    seen: set[ast.AST] = set()
    for use in ledger.uses:
        call = use.spot.node
        if call in seen or use.spot.file.is_test or use.spot.chain or not isinstance(call, ast.Call):
            continue
        roles = {name: role_of(name, True) for name in use.given}
        alphas = [name for name, role in roles.items() if role == ALPHA]
        if len(alphas) != 1 or RANK in roles.values() or FACTORS & set(roles.values()):
            continue
        spot = argument_of(use, alphas[0])
        number = _literal(spot)
        whole = any(map(_is_file, use.given.values()))
        if spot is not None and number is not None and number > 1 and whole and _speaks(use.name):
            seen.add(call)
            yield MadeUpAlpha(use, spot, number)


def _literal(spot: Spot | None) -> float | None:
    node = spot.node if spot is not None else None
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value)
    return None


def _is_file(value: Value) -> bool:
    """Are these the tensors of a file that the program is given, and not of one that it names?"""
    return (
        any(
            isinstance(option.value, Place) and option.value.path.startswith("file(")
            for option in options(value)
            if not isinstance(option.value, Text)
        )
        and scale_of(value) is None
    )
