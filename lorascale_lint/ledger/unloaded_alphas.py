"""Classes that save alpha beside their factors, and what loads the factors again."""

from __future__ import annotations

from collections import defaultdict

from lorascale_lint.knowledge.interfaces import READS_WHOLE, WRITES_TENSORS
from lorascale_lint.knowledge.roles import ALPHA, MULTIPLIER, SCALING, A, B, role_of
from lorascale_lint.ledger.entries import KeyWrite
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import Look
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import is_real_factor, key_role_of, tables
from lorascale_lint.linking.definitions import ClassInfo
from lorascale_lint.provenance.values import Place, Tensor, options


def alphas_written(ledger: Ledger) -> dict[ClassInfo, KeyWrite]:
    """Where the methods of a class write alpha beside factors, into what becomes a file."""
    found: dict[ClassInfo, KeyWrite] = {}
    for table in tables(ledger):
        alphas = table.by_role(ALPHA)
        owner = None if not alphas or alphas[0].spot.function is None else alphas[0].spot.function.owner
        if owner is None or owner in found:
            continue
        factors = [any(is_real_factor(w.value) for w in table.by_role(side)) for side in (A, B)]
        if all(factors) and table.goes_to(WRITES_TENSORS):
            found[owner] = alphas[0]
    return found


def loads_factors(look: Look) -> Spot | None:
    """Where the file is opened whose factors the function puts into layers."""
    opened = [use for use in look.uses if isinstance(use.result, Place) and use.result.made == "state dict"]
    files = {use.result.path: use.spot for use in opened if isinstance(use.result, Place)}
    sides: dict[str, set[str | None]] = defaultdict(set)
    for store in look.stores:
        for option in options(store.value):
            value = option.value
            if isinstance(value, Place) and value.role in (A, B):
                sides[value.path.partition("[")[0]].add(value.role)
            elif isinstance(value, Tensor) and value.kind in (A, B):
                sides[value.origin.partition("[")[0]].add(value.kind)
    for path, spot in files.items():
        if {A, B} <= sides.get(path, set()):
            return spot
    return None


def cares_for_alpha(look: Look) -> bool:
    """Does the function read or set an alpha, or any scale, or hand the file to what may?"""
    numbers = (ALPHA, SCALING, MULTIPLIER)
    return (
        any(key_role_of(read.key) in (ALPHA, SCALING) for read in look.reads)
        or any(role_of(store.field, True) in numbers for store in look.stores)
        or any(
            use.called in READS_WHOLE or any(role_of(n, True) in numbers for n in use.given)
            for use in look.uses
        )
    )
