"""Factors of several modules that become one pair."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import ALPHA, RANK, SCALING, STRENGTH, A, B
from lorascale_lint.ledger.entries import KeyWrite
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import only_symbol, scale_of, symbol_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import Table, is_plain_factor, literal_of, tables
from lorascale_lint.provenance.guards import contradict
from lorascale_lint.provenance.scale import EXTENT, STAND_IN, Scale
from lorascale_lint.provenance.values import Hole, Place, Tensor, Text, Tup, Value, options


@immutable(frozen=True, slots=True)
class Fusion:
    """Where both factors and the alpha of one fused module are written, or given back together.

    ``sure`` if the parts have nothing on them but strengths, and the pair is written as a module of a file.
    """

    down: Spot
    up: Spot
    alpha: Spot
    sure: bool = True


def fusions(ledger: Ledger) -> Iterator[Fusion]:
    """Fused modules, whose rank is that of all parts together, with an alpha as it was read."""
    made = tables(ledger)
    for table in made:
        alphas = table.by_role(ALPHA)
        if not all(is_read_alpha(write.value) for write in alphas):
            continue  # some alpha is computed here: perhaps this one, afterwards
        for alpha in alphas:
            down = next(
                (w for w in table.by_role(A) if _same_module(w, alpha) and _joins(w.value, A, 0)), None
            )
            wide = (w for w in table.by_role(B) if _same_module(w, alpha) and _is_wide(w.value, made))
            up = next(wide, None)
            if down is not None and up is not None and not alpha.spot.file.is_test:
                yield Fusion(down.spot, up.spot, alpha.spot, _is_sure(up.value))
    yield from _records(made)
    yield from _given_back(ledger, made)


def _records(made: list[Table]) -> Iterator[Fusion]:
    """Dictionaries of one pair, with keys of no module, and the alpha that one part of it has."""
    for table in made:
        for alpha in table.by_role(ALPHA):
            if not literal_of(alpha.key).isidentifier() or alpha.spot.file.is_test:
                continue
            row = [write for write in table.writes if literal_of(write.key).isidentifier()]
            downs = (w for w in row if _side(w.value) == A and _joins(w.value, A, 0))
            down = next((w for w in downs if _is_alpha_beside(alpha.value, w.value)), None)
            up = next((w for w in row if _side(w.value) == B and _joins(w.value, B, 1)), None)
            if down is not None and up is not None:
                yield Fusion(down.spot, up.spot, alpha.spot, sure=False)


def _given_back(ledger: Ledger, made: list[Table]) -> Iterator[Fusion]:
    """Both fused factors, and the alpha that one part of them has in the same table, as one row."""
    seen: set[tuple[str, int]] = set()
    for given in ledger.returns:
        spot = given.spot
        place = (spot.file.filename, spot.row)
        if place in seen or spot.chain or spot.file.is_test:
            continue
        for option in options(given.value):
            held = option.value.items if isinstance(option.value, Tup) else ()
            down = next((value for value in held if _joins(value, A, 0)), None)
            wide = any(_is_wide(value, made) for value in held)
            if down is not None and wide and any(_is_alpha_beside(value, down) for value in held):
                seen.add(place)
                yield Fusion(spot, spot, spot, sure=False)  # who gets it may know the number of parts
                break


def _is_alpha_beside(value: Value, factor: Value) -> bool:
    """Is the value, where it is there, an alpha as it stands in the table that the factor is of?"""
    scales = [scale for option in options(value) if (scale := scale_of(option.value)) is not None]
    held = {_table_of(one.value.origin) for one in options(factor) if isinstance(one.value, Tensor)}
    symbols = [only_symbol(scale) for scale in scales]
    symbols = [
        one for one in symbols if one is None or not one.origin.startswith(STAND_IN)
    ]  # of that part, too
    return bool(symbols) and all(
        symbol is not None and symbol.role == ALPHA and _table_of(symbol.origin) in held for symbol in symbols
    )


def _table_of(origin: str) -> str:
    return origin.rpartition("[")[0]


def _same_module(write: KeyWrite, alpha: KeyWrite) -> bool:
    """Do both keys, of one branch, begin with the same name, or with a piece of the same key?"""
    if not isinstance(write.key, Text) or not isinstance(alpha.key, Text):
        return False
    if write.spot.node is alpha.spot.node or contradict(write.guards, alpha.guards):
        return False  # a copy of a whole table, or another branch
    return _begin(write.key) == _begin(alpha.key) and alpha.key.literal is None


def _begin(key: Text) -> object:
    first = key.parts[0] if key.parts else ""
    return (first.root or first.name) if isinstance(first, Hole) else first


def is_read_alpha(value: Value) -> bool:
    """Is the value an alpha as it was read under a key, and nothing computed?"""
    symbols = [symbol_of(option.value) for option in options(value)]
    return all(symbol is not None and symbol.role == ALPHA and "{" in symbol.origin for symbol in symbols)


def _joins(value: Value, side: str, axis: int) -> bool:
    """Is the value several factors of a side, side by side along the axis, one of them without a rank?

    What makes up for the common rank must know the rank of the part.
    """
    return all(
        isinstance(option.value, Tensor)
        and option.value.kind == side
        and axis in option.value.joined
        and (is_plain_factor(option.value) or any(map(_is_chosen, option.value.parts)))
        for option in options(value)
    )


def _is_chosen(scale: Scale) -> bool:
    """Is nothing of the trained scale in what multiplies a part, as far as its numbers are named?"""
    numbers = (ALPHA, RANK, SCALING, EXTENT)
    return not any(s.role in numbers or not (s.role or s.origin.isidentifier()) for s, _ in scale.powers)


def _is_sure(value: Value) -> bool:
    """Is there nothing on the parts, or one that has a strength only?"""
    parts = [part for option in options(value) for part in getattr(option.value, "parts", ())]
    plain = [part for part in parts if all(symbol.role == STRENGTH for symbol, _ in part.powers)]
    return bool(plain) or not parts


def _is_wide(value: Value, made: list[Table]) -> bool:
    """Are the B factors side by side, or on the diagonal of zeros?"""
    return all(_is_filled(option.value, made) or _joins(option.value, B, 1) for option in options(value))


def _is_filled(value: Value, made: list[Table]) -> bool:
    """Are B factors put into zeros?"""
    if not isinstance(value, Tensor) or value.kind != "fresh" or not value.zero:
        return False
    return any(
        _side(write.value) == B and write.container == value for table in made for write in table.writes
    )


def _side(value: Value) -> str | None:
    return value.kind if isinstance(value, Tensor) else value.role if isinstance(value, Place) else None
