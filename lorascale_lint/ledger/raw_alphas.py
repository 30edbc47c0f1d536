"""Alphas that multiply a delta and that no rank divides, with what shows that they are no strengths."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.interfaces import ALPHA_FIELD
from lorascale_lint.knowledge.roles import ALPHA, RANK, A, B, role_of
from lorascale_lint.ledger.applications import Application
from lorascale_lint.ledger.entries import KeyWrite, Store, Use
from lorascale_lint.ledger.families import families, family_of_class
from lorascale_lint.ledger.kept_sides import folds_of_one_side
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import named_outright, only_symbol, scale_of, symbol_of
from lorascale_lint.ledger.powers import powers_of, trained_part
from lorascale_lint.ledger.scale_stores import field_name, scale_stores
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import constant, is_plain_factor, is_real_factor, key_role_of, tables
from lorascale_lint.linking.definitions import ClassInfo, FunctionInfo
from lorascale_lint.provenance.guards import contradict
from lorascale_lint.provenance.scale import Scale, Symbol, is_share, undivided
from lorascale_lint.provenance.values import (
    Multiplied,
    Number,
    Place,
    Ref,
    Tensor,
    Text,
    Tup,
    Value,
    options,
)

Witness = tuple[Spot, str]
"""A place, and what it shows."""


@immutable(frozen=True, slots=True, eq=False)
class RawAlpha:
    """An alpha that reaches a delta undivided: at ``step``, or as the scale that ``stored`` keeps."""

    spot: Spot
    text: str
    witness: Witness
    step: Multiplied | None
    stored: Store | KeyWrite | None
    other_branch: bool = False
    """Is the scale divided on another branch of what is stored?"""


def raw_alphas(ledger: Ledger) -> list[RawAlpha]:
    """Definitions of a class's scale first, then uses of an alpha that no such definition explains."""
    defined = list(_definitions(ledger))
    names = {(item.spot.cls, field_name(item.stored)) for item in defined if item.stored is not None}
    used = [
        item
        for item in _uses(ledger)
        if item.step is None or (item.spot.cls, _attribute(item.step)) not in names
    ]
    return [*defined, *used]


# ---- alphas at a delta ----------------------------------------------------------------------


def _uses(ledger: Ledger) -> Iterator[RawAlpha]:
    divided: set[int] = set()
    raw: dict[int, dict[Symbol, Multiplied]] = defaultdict(dict)
    for scale, steps in _ends(ledger):
        if powers_of(scale).below > 0:
            divided.update(id(step.spot.node) for step in steps)
        part = trained_part(undivided(scale))
        symbol = only_symbol(part)
        if symbol is None or symbol.role != ALPHA:
            continue
        last = next((step for step in reversed(steps) if powers_of(step.scale).alpha == 1), None)
        if last is not None and getattr(last.before, "kind", "") != "data":  # not called one for its alpha
            raw[id(last.spot.node)].setdefault(symbol, last)
    for node, looks in raw.items():
        if node in divided:
            continue
        for symbol, step in looks.items():
            divided_here = _is_divided(ledger, step.spot, symbol)
            witness = _sibling(ledger, step) if divided_here else _is_real(ledger, symbol, step)
            if witness is not None:
                text = ast.unparse(step.number) if step.number is not None else symbol.origin
                yield RawAlpha(step.spot, text, witness, step, _stored(ledger, step.spot.cls, symbol))
                break


def _ends(ledger: Ledger) -> Iterator[tuple[Scale, tuple[Multiplied, ...]]]:
    """Every scale that a delta, or a factor that is kept, has somewhere, with the steps that led there."""
    for applied in ledger.applies:
        yield applied.scale, applied.steps
    for given in ledger.returns:
        for option in options(given.value):
            if isinstance(option.value, Tensor) and option.value.kind == "delta":
                yield option.value.scale, option.value.steps
    for step in ledger.multiplied:
        if isinstance(step.before, Tensor) and step.before.kind in ("delta", "adapted"):
            yield step.before.scale * step.scale, (*step.before.steps, step)
    for kept in folds_of_one_side(ledger):
        yield kept.scale, kept.steps


def _is_real(ledger: Ledger, symbol: Symbol, step: Multiplied) -> Witness | None:
    """What shows that the number is an alpha: a file, a rank beside it, a sibling that divides it."""
    read = ledger.once(_file_alphas).get(symbol.origin)
    if read is not None:
        return read, "alpha is read from an adapter's entries"
    settings = ledger.once(_settings_alphas).get(symbol.origin)
    if settings is not None:
        return settings, "the settings that state alpha state the rank beside it"
    carried = ledger.once(_carried).get(_last_part(symbol.origin))
    if carried is not None and _same_row(symbol, step) and not _divided_elsewhere(ledger, symbol):
        return carried, "the alpha of the file is kept beside the factors"
    stored = _stored(ledger, step.spot.cls, symbol)
    if stored is not None:
        rank = _rank_beside(ledger, stored.spot.function, symbol)
        if rank is not None:
            return stored.spot, f"the rank, `{rank}`, is taken too, and alpha stored as it is"
    declared = _declared_beside(ledger, step, symbol)
    if declared is not None:
        return declared
    return _sibling(ledger, step)


def _sibling(ledger: Ledger, step: Multiplied) -> Witness | None:
    """Where another method of the class, or of one of its family, divides the alpha of the same factors."""
    family = family_of_class(ledger, step.spot.cls)
    for other in () if family is None else family.applications:
        for branch in other.branches:
            found = powers_of(branch.scale)
            if found.is_trained and found.alpha and other.spot.function is not step.spot.function:
                return other.spot, f"`{other.spot.name}` applies the delta at {branch.scale.formula()}"
    return None


def _declared_beside(ledger: Ledger, step: Multiplied, symbol: Symbol) -> Witness | None:
    """Where alpha is read from an object whose class declares it beside a rank, and not as a strength."""
    for read in ledger.field_reads:
        owner = read.owner.cls if isinstance(read.owner, Ref) else None
        if owner is None or read.spot.function is not step.spot.function:
            continue
        origins = {origin for option in options(read.value) for origin in _origins(option.value)}
        if symbol.origin not in origins:
            continue
        fields = {name: node for cls in ledger.lineage(owner) for name, node in cls.attributes.items()}
        rank = next((name for name in fields if role_of(name, True) == RANK), None)
        start = fields.get(read.field)
        share = isinstance(start, ast.Constant) and is_share(start.value)
        if rank is not None and read.field in fields and not share:
            return read.spot, f"`{owner.name}` declares the rank, `{rank}`, beside it"
    return None


def _same_row(symbol: Symbol, step: Multiplied) -> bool:
    """Do alpha and a factor come from one row: ``entry["alpha"]`` and ``entry["up"]``?"""
    owner = _owner(symbol.origin)
    factor = step.before.origin if isinstance(step.before, Tensor) else ""
    return not owner or not _owner(factor) or owner == _owner(factor)


def _divided_elsewhere(ledger: Ledger, symbol: Symbol) -> bool:
    """Is it a bare name, which no row holds in sight, while the file's alpha is divided on its way?"""
    return not _owner(symbol.origin) and any(
        origin in ledger.once(_file_alphas)
        for quotient in ledger.quotients
        for option in options(quotient.value)
        for origin in _origins(option.value)
    )


def _file_alphas(ledger: Ledger) -> dict[str, Spot]:
    """Where alphas are read from entries of a state dict, by the origin of the number."""
    found: dict[str, Spot] = {}
    for read in ledger.reads:
        literal = read.key.literal if isinstance(read.key, Text) else None
        if key_role_of(read.key) != ALPHA or (literal or ".").isidentifier():
            continue
        for option in options(read.value):
            for origin in _origins(option.value):
                found.setdefault(origin, read.spot)
    return found


def _settings_alphas(ledger: Ledger) -> dict[str, Spot]:
    """Where ``lora_alpha`` is read from settings of which the rank is read as well, by the origin."""
    ranked = [
        read.container
        for read in ledger.reads
        if isinstance(read.key, Text) and role_of(read.key.literal or "", True) == RANK
    ]
    found: dict[str, Spot] = {}
    for read in ledger.reads:
        plain = isinstance(read.key, Text) and read.key.literal == ALPHA_FIELD
        if plain and isinstance(read.container, Place) and read.container in ranked:
            for option in options(read.value):
                for origin in _origins(option.value):
                    found.setdefault(origin, read.spot)
    return found


def _carried(ledger: Ledger) -> dict[str, Spot]:
    """Where both factors of a file and their alpha are put into one row, by the name of alpha there."""
    found: dict[str, Spot] = {}
    finished: set[str] = set()
    files = ledger.once(_file_alphas)
    for spot, row in _rows(ledger):
        sides = {
            side
            for value in row.values()
            if is_real_factor(value) and is_plain_factor(value)
            for option in options(value)
            if (side := getattr(option.value, "kind", getattr(option.value, "role", None))) in (A, B)
        }
        for name, value in row.items():
            origins = [origin for option in options(value) for origin in _origins(option.value)]
            scales = [scale_of(option.value) for option in options(value)]
            if any(s is not None and powers_of(s).alpha and powers_of(s).below > 0 for s in scales):
                finished.add(name)  # rows of one name are told apart by nothing here
            pure = all(s is None or s.constant is not None or only_symbol(s) is not None for s in scales)
            if sides == {A, B} and pure and any(origin in files for origin in origins):
                found.setdefault(name, spot)
    return {name: spot for name, spot in found.items() if name not in finished}


def _rows(ledger: Ledger) -> Iterator[tuple[Spot, dict[str, Value]]]:
    """Dictionaries, records and lists, each as what it holds under which name or index."""
    for table in tables(ledger):
        row = {
            write.key.literal: write.value
            for write in table.writes
            if isinstance(write.key, Text) and write.key.literal
        }
        yield table.writes[0].spot, row
    for use in ledger.uses:
        if isinstance(use.callee, ClassInfo):
            yield use.spot, dict(use.given)
    for write in ledger.writes:
        if isinstance(write.value, Tup):
            yield write.spot, {str(index): value for index, value in enumerate(write.value.items)}


def _origins(value: Value) -> list[str]:
    if isinstance(value, Place):
        return [value.path]
    scale = scale_of(value)
    return [] if scale is None else [symbol.origin for symbol, _ in scale.powers]


def _owner(path: str) -> str:
    """``entry`` of ``entry[alpha]``."""
    return path.rpartition("[")[0]


def _last_part(path: str) -> str:
    """``alpha`` of ``entry[alpha]`` and of ``alpha``."""
    return path.rpartition("[")[2].removesuffix("]")


# ---- alphas that are kept ---------------------------------------------------------------------


def _definitions(ledger: Ledger) -> Iterator[RawAlpha]:
    kept = list(scale_stores(ledger))
    for entry in kept:
        raw = [option.value for option in options(entry.value) if not getattr(option.value, "steps", ())]
        scales = [scale for value in raw if (scale := scale_of(value)) is not None]
        symbols = {symbol for scale in scales if (symbol := only_symbol(undivided(scale)))}
        alpha = next((symbol for symbol in symbols if symbol.role == ALPHA), None)
        if alpha is None:
            continue
        beside = [
            scale_of(option.value)
            for other in kept
            if other is entry
            or (field_name(other) == field_name(entry) and contradict(other.guards, entry.guards))
            for option in options(other.value)
            if other.spot.function is entry.spot.function
        ]
        divided = any(s is not None and powers_of(s).alpha and powers_of(s).below > 0 for s in beside)
        witness: Witness | None = (entry.spot, "another branch divides it by the rank")
        if not divided:
            witness = _defining(ledger, entry.spot, alpha, symbols)
        if witness is not None:
            yield RawAlpha(entry.spot, alpha.origin, witness, None, entry, divided)


def _defining(ledger: Ledger, spot: Spot, alpha: Symbol, symbols: set[Symbol]) -> Witness | None:
    """What shows that a stored scale should have been divided; None where some code divides it."""
    family = family_of_class(ledger, spot.cls)
    own = () if family is None else family.applications
    for applied in (*own, *_by_heirs(ledger, spot.cls)):
        if any(powers_of(branch.scale).below > 0 for branch in applied.branches):
            return None
    if _is_divided(ledger, spot, alpha):
        return None
    if any(symbol.role == RANK or symbol.origin.startswith("the rank,") for symbol in symbols):
        return spot, "a missing alpha is the rank, so alpha is a real one"
    rank = _rank_beside(ledger, spot.function, alpha)
    return None if rank is None else (spot, f"the rank comes with `{rank}`, where alpha comes from")


def _by_heirs(ledger: Ledger, cls: ClassInfo | None) -> Iterator[Application]:
    """Where classes below ``cls``, which may apply nothing itself, use the factors that it keeps for them."""
    for family in families(ledger) if cls is not None else ():
        yield from (applied for applied, holder in family.holders.items() if cls in ledger.lineage(holder))


def _is_divided(ledger: Ledger, spot: Spot, alpha: Symbol) -> bool:
    """Is the number divided by a rank in the same class or function, whatever becomes of it?"""
    return any(
        alpha in dict(scale.powers)
        for quotient in ledger.quotients
        if (quotient.spot.cls is spot.cls and spot.cls is not None) or quotient.spot.function is spot.function
        for option in options(quotient.value)
        if (scale := scale_of(option.value)) is not None
    )


def _rank_beside(ledger: Ledger, function: FunctionInfo | None, alpha: Symbol) -> str | None:
    """What ``function`` takes as the rank (or as factor A, which has it), where it takes a real alpha."""
    if function is None:
        return None
    owner, dot, _ = alpha.origin.rpartition(".")
    if dot:
        return _rank_of_owner(ledger, function, owner) if named_outright(alpha) else None
    if alpha.origin not in function.parameters or _is_small(ledger, function, alpha):
        return None
    return next((p for p in function.parameters if role_of(p, True) == RANK or role_of(p, False) == A), None)


def _rank_of_owner(ledger: Ledger, function: FunctionInfo, owner: str) -> str | None:
    """``config.lora_r`` of the configuration that alpha is read from."""
    for use in ledger.uses:
        for value in use.given.values() if use.spot.function is function else ():
            for option in options(value):
                for origin in _origins(option.value):
                    if origin.startswith(f"{owner}.") and role_of(origin.rpartition(".")[2], True) == RANK:
                        return origin
    return None


def _is_small(ledger: Ledger, function: FunctionInfo, alpha: Symbol) -> bool:
    """Is the parameter 1 or less by default, as a strength is, and not called `lora_alpha`?"""
    found = [
        value
        for default in ledger.defaults
        if default.name == alpha.origin and default.owner == function.qualname
        if (value := constant(default.value)) is not None
    ]
    return not named_outright(alpha) and any(value <= 1 for value in found)


def _stored(ledger: Ledger, cls: ClassInfo | None, symbol: Symbol) -> Store | None:
    """Where an object of ``cls`` keeps the number as it came, if no call in sight gives another one."""
    return ledger.once(_stored_alphas).get((cls, symbol)) if cls is not None else None


def _stored_alphas(ledger: Ledger) -> dict[tuple[ClassInfo, Symbol], Store]:
    places: dict[tuple[str, int, str], list[Store]] = defaultdict(list)
    for entry in ledger.stores:
        if isinstance(entry.owner, Ref):
            places[entry.spot.file.filename, entry.spot.row, entry.field].append(entry)
    found: dict[tuple[ClassInfo, Symbol], Store] = {}
    for looks in places.values():
        for entry in [look for look in looks if look.spot.chain] or looks:
            for option in options(entry.value):
                symbol = symbol_of(option.value)
                if symbol is not None and symbol.role == ALPHA and entry.spot.cls is not None:
                    for cls in [entry.spot.cls, *_heirs(ledger, entry.spot.cls)]:
                        found.setdefault((cls, symbol), entry)
    return found


def _heirs(ledger: Ledger, cls: ClassInfo) -> list[ClassInfo]:
    family = family_of_class(ledger, cls)
    return [] if family is None else [item for item in family.members if cls in ledger.lineage(item)]


def _attribute(step: Multiplied) -> str:
    """``scaling`` where a delta is multiplied by ``self.scaling`` or ``self.scaling[name]``."""
    node = step.number
    while isinstance(node, ast.Subscript):
        node = node.value
    return node.attr if isinstance(node, ast.Attribute) else ""


__all__ = ["Number", "RawAlpha", "Use", "raw_alphas"]
