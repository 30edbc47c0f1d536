"""Raw differences of an adapter that are multiplied by a trained scale."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import trained
from lorascale_lint.provenance.tensors import is_difference
from lorascale_lint.provenance.values import Multiplied


def scaled_differences(ledger: Ledger) -> Iterator[Multiplied]:
    """Each place once."""
    seen: set[ast.AST] = set()
    for step in ledger.multiplied:
        if step.spot.node in seen or step.spot.file.is_test or not trained(step.scale):
            continue
        if is_difference(step.before):
            seen.add(step.spot.node)
            yield step
