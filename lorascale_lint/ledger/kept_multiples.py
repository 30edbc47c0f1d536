"""Numbers that are kept for an unmerge, beside the merge that they are not the multiple of."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from lorascale_lint.immutable import immutable
from lorascale_lint.ledger.entries import Apply, KeyWrite
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.provenance.scale import ONE, Scale
from lorascale_lint.provenance.tensors import number
from lorascale_lint.provenance.values import Place, Value


@immutable(frozen=True, slots=True, eq=False)
class OtherMultiple:
    """``merge`` adds another multiple than ``write`` keeps in ``kept_in``, which ``unmerge`` takes away."""

    merge: Apply
    write: KeyWrite
    unmerge: Apply
    kept_in: str


def other_multiples(ledger: Ledger) -> Iterator[OtherMultiple]:
    """Merges whose multiple is not the number that the function keeps for the unmerge."""
    undone = _undone(ledger)
    kept: dict[tuple[object, str], KeyWrite] = {}
    for item in ledger.writes if undone else ():
        kept[item.spot.function, _path(item.container)] = item
    reported: set[tuple[str, int]] = set()
    for entry in ledger.applies:
        if entry.kind != "merge" or entry.spot.chain:
            continue
        unmerge = undone.get((entry.spot.file.filename, _root(entry.factors)))
        place = (entry.spot.file.filename, entry.spot.row)
        if unmerge is None or not entry.scale.powers or place in reported:
            continue
        name = _multiple(unmerge) or ""
        write = kept.get((entry.spot.function, name))
        if write is not None and not _same(entry.scale, write.value):
            reported.add(place)
            yield OtherMultiple(entry, write, unmerge, name)


def _undone(ledger: Ledger) -> dict[tuple[str, str], Apply]:
    """Unmerges by a kept number, by file and the place of their factors."""
    return {
        (entry.spot.file.filename, _root(entry.factors)): entry
        for entry in ledger.applies
        if entry.kind == "unmerge" and _multiple(entry) and "[" in entry.factors
    }


def _multiple(entry: Apply) -> str | None:
    """The dictionary whose entry alone multiplies the delta."""
    if len(entry.scale.powers) != 1 or entry.scale.coefficient != 1:
        return None
    symbol, power = entry.scale.powers[0]
    return _root(symbol.origin) if power == 1 and "[" in symbol.origin else None


def _root(path: str) -> str:
    return path.partition("[")[0]


def _path(container: Value) -> str:
    return container.path if isinstance(container, Place) else ""


def _same(scale: Scale, value: Value) -> bool:
    """Is the kept value the scale, as far as both are known?"""
    known = number(value)
    held = known.scale if known is not None else None
    if held is None and isinstance(value, Place):
        held = Scale.of("", value.path)
    inverse = held.inverse() if held is not None else None
    if inverse is None:
        return True
    rest: dict[str, Fraction] = {}
    for symbol, power in (scale * inverse).powers:  # one number may have a role here and none there
        rest[symbol.origin] = rest.get(symbol.origin, Fraction(0)) + power
    return (scale * inverse).coefficient == ONE.coefficient and not any(rest.values())
