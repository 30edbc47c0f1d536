"""Converters that write the factors of a file under each other's names."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import A, B
from lorascale_lint.ledger.entries import KeyWrite
from lorascale_lint.ledger.fates import Fate, fates
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.tables import key_role_of
from lorascale_lint.provenance.values import Tensor, Text, options
from lorascale_lint.provenance.ways import origins


@immutable(frozen=True, slots=True, eq=False)
class Exchanged:
    """``down`` writes A under a name of B, and ``up`` B under one of A."""

    down: KeyWrite
    up: KeyWrite


def exchanged(ledger: Ledger) -> Iterator[Exchanged]:
    """One for each table that has names of another convention than the file, neither factor transposed.

    Whether they go on is not asked: a function that takes factors alone ends at the alpha of the trial.
    """
    seen: set[object] = set()
    for fate in fates(ledger):
        found = list(_pairs(fate))
        if any((key_role_of(down.key), key_role_of(up.key)) == (A, B) for down, up in found):
            continue
        for down, up in found:
            wrong = (key_role_of(down.key), key_role_of(up.key)) == (B, A)
            if wrong and _lies_as_before(down) and _lies_as_before(up) and down.spot.node not in seen:
                seen.add(down.spot.node)
                yield Exchanged(down, up)


def _pairs(fate: Fate) -> Iterator[tuple[KeyWrite, KeyWrite]]:
    """The entries for A and B in each table that gives them names of another convention."""
    pair = fate.trial.sample.pair
    for writes in fate.written.values():
        downs = [write for write in writes if fate.down in origins(write.value)]
        ups = [write for write in writes if fate.up in origins(write.value)]
        if downs and ups and all(_is_other(write, (pair.down, pair.up)) for write in (*downs, *ups)):
            yield downs[0], ups[0]


def _is_other(write: KeyWrite, names: tuple[str, str]) -> bool:
    """Is it a whole name of a tensor, and none that the file has?"""
    literal = (write.key.literal or "") if isinstance(write.key, Text) else ""
    return "." in literal and not literal.endswith(names)


def _lies_as_before(write: KeyWrite) -> bool:
    held = [option.value for option in options(write.value)]
    return not any(isinstance(value, Tensor) and value.transposed for value in held)
