"""Alpha and rank that are put into two fields of one object that is out of sight: other settings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.knowledge.roles import ALPHA, RANK
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import symbol_of
from lorascale_lint.ledger.origins import last_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.values import Place, options


def kept_together(ledger: Ledger) -> Iterator[tuple[str, str, Spot, str]]:
    """Origins of both, where the alpha is stored, and what the object is called."""
    found: dict[tuple[FunctionInfo | None, tuple[str, ...], str], dict[str, tuple[str, Spot]]] = defaultdict(
        dict
    )
    for store in ledger.stores:
        if not isinstance(store.owner, Place) or store.spot.file.is_test:
            continue
        symbols = [symbol_of(option.value) for option in options(store.value)]
        for symbol in symbols:
            if symbol is not None and symbol.role in (ALPHA, RANK):
                place = (store.spot.function, store.spot.chain, store.owner.path)
                found[place][symbol.role] = (symbol.origin, store.spot)
    for (_, _, owner), own in found.items():
        if ALPHA in own and RANK in own:
            yield own[ALPHA][0], own[RANK][0], own[ALPHA][1], last_of(owner)
