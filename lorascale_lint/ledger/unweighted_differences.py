"""Raw differences that are added without the strength that the deltas beside them have."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import GATE, STRENGTHS, role_of
from lorascale_lint.ledger.conditions import names_in, parting
from lorascale_lint.ledger.entries import DifferenceSum
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import ByFunction
from lorascale_lint.ledger.origins import last_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.provenance.scale import Scale
from lorascale_lint.provenance.tensors import is_difference
from lorascale_lint.provenance.values import Multiplied


@immutable(frozen=True, slots=True, eq=False)
class Unweighted:
    """At ``spot`` a difference is added as it is; ``step`` gives the factors the strength called ``name``."""

    spot: Spot
    step: Multiplied
    name: str


def unweighted_differences(ledger: Ledger) -> Iterator[Unweighted]:
    """One for each sum, where nothing multiplies the difference by anything, unless on another branch."""
    by_function = ledger.once(ByFunction)
    seen: set[ast.AST] = set()
    for sum_ in (*ledger.difference_sums, *_entries(ledger)):
        function = sum_.spot.function
        if function is None or sum_.spot.node in seen or sum_.spot.file.is_test:
            continue
        scaled = (step for step in by_function.multiplied.get(function, ()) if is_difference(step.before))
        if any(parting(step.guards, sum_.guards) is None for step in scaled):
            continue
        for apply in by_function.applies.get(function, ()):
            found = _strength(apply.scale)
            step = next((item for item in apply.steps if found and _holds(item.scale, found)), None)
            if step is None or apply.spot.chain != sum_.spot.chain or apply.kind != "merge":
                continue
            if _table(apply.factors) != _table(sum_.origin) or _names(sum_.spot.node, last_of(found)):
                continue
            parted = parting(sum_.guards, apply.guards)
            if parted is not None and _speaks_of_strength(parted[0], last_of(found)):
                continue
            seen.add(sum_.spot.node)
            yield Unweighted(sum_.spot, step, found.partition("=")[0])
            break


def _entries(ledger: Ledger) -> Iterator[DifferenceSum]:
    """Entries of an adapter's file under keys that nobody knows, which are added to a weight as they are."""
    for apply in ledger.applies:
        unknown = apply.scale.unknowns()
        if apply.kind != "merge" or apply.rows or apply.steps or len(unknown) != 1:
            continue
        table = _table(apply.factors)
        if table.startswith("file(") and unknown[0].startswith(f"{table}["):
            yield DifferenceSum(apply.spot, apply.factors, apply.base, apply.guards)


def _strength(scale: Scale) -> str:
    """What a caller chooses, if it is in the scale once."""
    found = [symbol.origin for symbol, power in scale.powers if symbol.role in STRENGTHS and power == 1]
    return found[0] if len(found) == 1 else ""


def _holds(scale: Scale, origin: str) -> bool:
    """Asked by its origin: where an `alpha` is multiplied on, only the whole scale says what it is."""
    return any(symbol.origin == origin for symbol, _ in scale.powers)


def _speaks_of_strength(condition: str, name: str) -> bool:
    """May the condition say why there is none? Which entries a file has says nothing of it."""
    return any(word == name or role_of(word, False) in (*STRENGTHS, GATE) for word in names_in(condition))


def _table(origin: str) -> str:
    """``file(path)`` of the entry ``file(path)[...]``."""
    return origin.partition("[")[0]


def _names(node: ast.AST, name: str) -> bool:
    """Does the sum itself speak of the strength, as ``add_(difference, alpha=strength)`` does?"""
    return any(
        name == getattr(part, "id", "") or name == getattr(part, "attr", "") for part in ast.walk(node)
    )
