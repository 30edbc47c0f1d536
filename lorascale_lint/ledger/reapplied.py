"""Factors that layers are trained with at alpha / rank, saved, and added to weights as they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import ALPHA, MULTIPLIER, RANK, SCALING, role_of
from lorascale_lint.ledger.entries import Apply, KeyWrite, Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import bare, scale_of
from lorascale_lint.ledger.round_trips import tail_of
from lorascale_lint.ledger.tables import Table, is_written, tables
from lorascale_lint.linking.definitions import ClassInfo
from lorascale_lint.provenance.scale import ONE, TRAINED, Scale
from lorascale_lint.provenance.values import Tensor, options


@immutable(frozen=True, slots=True, eq=False)
class Reapplied:
    """``written`` saves a factor that ``trained`` multiplies by alpha / rank, and ``again`` does not.

    ``stated`` is the entry of the same file that says the scale, if there is one.
    """

    written: KeyWrite
    trained: Apply
    again: Apply
    stated: KeyWrite | None


def reapplied(ledger: Ledger) -> Iterator[Reapplied]:
    """Each sum of saved factors with the scale 1, where the layers that they are of have another."""
    again = [apply for apply in ledger.applies if _tail(apply.factors) and not apply.spot.file.is_test]
    saved = _saved(ledger) if again else {}
    rescaled = {apply.spot.node for apply in again if not _is_plain(apply)}
    seen: set[object] = set()
    for apply in again:
        table, written = saved.get(_tail(apply.factors), (None, None))
        if table is None or written is None or apply.spot.node in seen | rescaled:
            continue
        trained = _trained(ledger, written)
        if trained is not None:
            seen.add(apply.spot.node)
            stated = [w for role in (ALPHA, SCALING, MULTIPLIER) for w in table.by_role(role)]
            yield Reapplied(written, trained, apply, stated[0] if stated else None)


def _tail(factors: str) -> str:
    """The end of the key in ``file(path)[{name}.outer]``; empty for what is not from a file."""
    inside = factors.partition(")[")[2] if factors.startswith("file(") and factors.endswith("]") else ""
    return inside[:-1].rpartition("}")[2].rpartition("[")[2]


def _is_plain(apply: Apply) -> bool:
    return bare(apply.scale) and all(symbol.role != MULTIPLIER for symbol, _ in apply.scale.powers)


def _saved(ledger: Ledger) -> dict[str, tuple[Table, KeyWrite]]:
    """What is saved as it is of the factors that layers hold, by the end of the key."""
    found: dict[str, tuple[Table, KeyWrite]] = {}
    for table in tables(ledger):
        for write in table.writes if is_written(ledger, table) else ():
            if _origins(write):
                found.setdefault(tail_of(write.key), (table, write))
    return found


def _origins(write: KeyWrite) -> set[str]:
    held = [option.value for option in options(write.value)]
    plain = [v for v in held if isinstance(v, Tensor) and v.kind in ("A", "B") and v.scale == ONE]
    return {value.origin for value in plain if "." in value.origin} if len(plain) == len(held) else set()


def _trained(ledger: Ledger, written: KeyWrite) -> Apply | None:
    """Where the layers that hold the factor apply it with the trained scale, if a caller chooses that."""
    names = _origins(written)
    classes = {name.partition(".")[0] for name in names}
    of_class = (a for a in ledger.applies if a.factors.partition(".")[0] in classes)
    trained = next((a for a in of_class if a.scale.by_role() == TRAINED), None)
    return trained if trained is not None and _is_chosen(ledger, classes) else None


def _is_chosen(ledger: Ledger, classes: set[str]) -> bool:
    """Does a caller give the classes an alpha that is not the rank?"""
    made = [
        use
        for use in ledger.uses
        if isinstance(use.callee, ClassInfo) and use.callee.name in classes and not use.spot.file.is_test
    ]
    called = {use.spot.node for use in made if use.spot.chain}
    return any(_is_apart(use) for use in made if use.spot.chain or use.spot.node not in called)


def _is_apart(use: Use) -> bool:
    numbers: dict[str | None, set[Scale | None]] = defaultdict(set)
    for name, value in use.given.items():
        numbers[role_of(name, True)].update(scale_of(option.value) for option in options(value))
    alphas, ranks = numbers[ALPHA], numbers[RANK]
    return bool(alphas) and None not in alphas | ranks and alphas.isdisjoint(ranks)
