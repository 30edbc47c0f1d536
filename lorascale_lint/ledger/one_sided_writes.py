"""Factors that are written with alpha in them on one branch, and as they are on another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import ALPHA, SCALING, A, B
from lorascale_lint.ledger.conditions import explains, parting
from lorascale_lint.ledger.entries import KeyWrite
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.tables import is_plain_factor, is_real_factor, key_role_of
from lorascale_lint.provenance.values import Tensor, options


@immutable(frozen=True, slots=True, eq=False)
class OneSidedWrite:
    """``bare`` is a factor B as it was read; ``scaled`` one on another branch."""

    bare: KeyWrite
    scaled: KeyWrite


def one_sided_writes(ledger: Ledger) -> Iterator[OneSidedWrite]:
    """One for each branch that leaves alpha out where a sibling folds it in."""
    groups: dict[object, list[KeyWrite]] = defaultdict(list)
    for write in ledger.writes:
        if not write.spot.chain and write.spot.function is not None and not write.spot.file.is_test:
            groups[write.spot.function, write.container].append(write)
    seen: set[object] = set()
    for writes in groups.values():
        kept = [w for w in writes if key_role_of(w.key) in (ALPHA, SCALING) or _has_alpha(w)]
        scaled = [w for w in kept if _has_alpha(w) and key_role_of(w.key) in (A, B)]
        for bare in writes if scaled else ():
            plain = key_role_of(bare.key) == B and is_real_factor(bare.value) and is_plain_factor(bare.value)
            if not plain or bare.spot.node in seen or any(explains(name) for name, _ in bare.guards):
                continue
            apart = [w for w in kept if parting(bare.guards, w.guards) is not None]
            if len(apart) == len(kept):
                seen.add(bare.spot.node)
                yield OneSidedWrite(bare, scaled[0])


def _has_alpha(write: KeyWrite) -> bool:
    """Is alpha multiplied into the factor that is written?"""
    return any(
        isinstance(option.value, Tensor)
        and option.value.kind in (A, B)
        and any(symbol.role in (ALPHA, SCALING) for symbol, _ in option.value.scale.powers)
        for option in options(write.value)
    )
