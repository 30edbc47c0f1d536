"""Deltas that are added to what a getter gives, which has added them already."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.ledger.entries import Apply
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.provenance.values import Tensor


@immutable(frozen=True, slots=True, eq=False)
class AddedTwice:
    """``again`` adds the delta of the factors to what ``first``, in another function, added it to."""

    first: Apply
    again: Apply


def added_twice(ledger: Ledger) -> Iterator[AddedTwice]:
    """One for each sum: the same factors of one object, at the same scale."""
    sums: dict[ast.AST, list[Apply]] = {}
    for apply in ledger.applies:
        if apply.kind == "merge":
            sums.setdefault(apply.spot.node, []).append(apply)
    seen: set[ast.AST] = set()
    for again in ledger.applies:
        base = again.base
        if again.kind != "merge" or again.spot.chain or again.spot.node in seen or again.spot.file.is_test:
            continue
        if not isinstance(base, Tensor) or base.kind != "adapted" or base.summed is None or not again.factors:
            continue
        if again.scale.unknowns():
            continue
        for first in sums.get(base.summed.node, ()):
            elsewhere = first.spot.function is not again.spot.function
            if elsewhere and first.factors == again.factors and first.scale == again.scale == base.scale:
                seen.add(again.spot.node)
                yield AddedTwice(first, again)
                break
