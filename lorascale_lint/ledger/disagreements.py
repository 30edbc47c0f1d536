"""Uses of the same factors whose scales are known, trained, and not the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.kinds import speaks_of_rslora
from lorascale_lint.knowledge.roles import ALPHA, RANK
from lorascale_lint.ledger.applications import Application, applications
from lorascale_lint.ledger.families import families
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.powers import powers_of, trained_part
from lorascale_lint.linking.definitions import ClassInfo
from lorascale_lint.provenance.scale import Scale


@immutable(frozen=True, slots=True, eq=False)
class Disagreement:
    """The factors have another scale in ``use`` than in ``other``, which is the forward if one is."""

    use: Application
    other: Application


def disagreements(ledger: Ledger) -> Iterator[Disagreement]:
    """The first pair of each class, and of the functions of a file that read one pair of numbers."""
    seen: set[Application] = set()
    groups = [_of_class(ledger, cls) for family in families(ledger) for cls in family.members]
    for group in (*groups, *_of_functions(ledger)):
        for first, second in combinations(group, 2):
            if first.variant != second.variant or _part(first) == _part(second):
                continue
            use, other = (first, second) if second.kind == "forward" else (second, first)
            if use not in seen:
                seen.add(use)
                yield Disagreement(use, other)


def _of_class(ledger: Ledger, cls: ClassInfo) -> list[Application]:
    """Applications by the methods that an object of the class really has."""
    methods: dict[str, object] = {}
    for base in reversed(ledger.lineage(cls)):
        methods.update(base.methods)
    return [
        item
        for item in _comparable(ledger)
        if item.spot.function in methods.values() and item.spot.cls in (cls, *ledger.lineage(cls))
    ]


def _of_functions(ledger: Ledger) -> Iterator[Sequence[Application]]:
    """Applications by functions of one file that read alpha and rank from the same settings."""
    found: dict[tuple[str, str, str], list[Application]] = {}
    for item in _comparable(ledger):
        function = item.spot.function
        if function is None or function.owner is not None or speaks_of_rslora(function.name):
            continue
        symbols = {s.role: s.origin for s, _ in trained_part(item.branches[0].scale).powers}
        if all("." in origin or "[" in origin for origin in symbols.values()):
            place = (item.spot.file.filename, symbols[ALPHA], symbols[RANK])
            found.setdefault(place, []).append(item)
    for group in found.values():
        if len({item.kind for item in group}) > 1:
            yield group


def _comparable(ledger: Ledger) -> list[Application]:
    """Applications with one trained scale that is known in its parts, whatever the conditions."""
    return ledger.once(_all_comparable)


def _all_comparable(ledger: Ledger) -> list[Application]:
    return [
        item
        for item in applications(ledger)
        if item.kind in ("forward", "merge")
        and not item.reasons
        and not item.spot.file.is_test
        and len(item.branches) == 1
        and powers_of(item.branches[0].scale).is_trained
        and powers_of(item.branches[0].scale).alpha
        and item.branches[0].scale.coefficient
    ]


def _part(item: Application) -> Scale:
    return trained_part(item.branches[0].scale).by_role()
