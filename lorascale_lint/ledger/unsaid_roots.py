"""Configurations for PEFT that do not say that the layers they are of divide by the root of the rank."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.interfaces import ADAPTER_TYPE, OF_MODELS
from lorascale_lint.knowledge.kinds import speaks_of_rslora
from lorascale_lint.knowledge.roles import ALPHA, RANK
from lorascale_lint.ledger.applications import Application, applications
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import scale_of, symbol_of
from lorascale_lint.ledger.origins import owner_of
from lorascale_lint.ledger.powers import HALF, powers_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import Table, literal_of, tables
from lorascale_lint.provenance.scale import Scale
from lorascale_lint.provenance.values import Value, options


@immutable(frozen=True, slots=True, eq=False)
class UnsaidRoot:
    """``alpha`` is written beside the rank and no flag; ``applied`` divides it by sqrt(rank)."""

    alpha: Spot
    applied: Spot
    sometimes: bool
    """Does a flag decide about the root?"""


def unsaid_roots(ledger: Ledger) -> Iterator[UnsaidRoot]:
    """Configurations written in a file whose layers all have rsLoRA's scale, always or under a flag."""
    uses = [item for item in applications(ledger) if not item.reasons and not item.spot.file.is_test]
    for table in tables(ledger):
        alphas = table.by_role(ALPHA)
        if not table.named(ADAPTER_TYPE) or not table.by_role(RANK) or not alphas or _says_more(table):
            continue
        if any(spread.container == table.container for spread in ledger.spreads):
            continue
        own = [item for item in uses if item.spot.file is alphas[0].spot.file]
        if own and all(map(_by_root, own)) and all(_is_plain(alpha.value) for alpha in alphas):
            yield UnsaidRoot(alphas[0].spot, own[0].spot, len(own[0].branches) > 1)


@immutable(frozen=True, slots=True, eq=False)
class CopiedHalf:
    """``alpha`` is written as a configuration of an adapter has it, beside its rank and no flag."""

    alpha: Spot
    owner: str


def copied_halves(ledger: Ledger) -> Iterator[CopiedHalf]:
    """Configurations for PEFT that are written from another one's alpha and rank, field by field."""
    seen: set[object] = set()
    for table in tables(ledger):
        alphas, ranks = table.by_role(ALPHA), table.by_role(RANK)
        if not table.named(ADAPTER_TYPE) or len(alphas) != 1 or len(ranks) != 1 or _says_more(table):
            continue
        owners = {_owner(alphas[0].value), _owner(ranks[0].value)}
        spot, owner = alphas[0].spot, owners.pop() if len(owners) == 1 else ""
        if owner and spot.node not in seen and not spot.file.is_test and not _asks(ledger, spot):
            seen.add(spot.node)
            yield CopiedHalf(spot, owner)


def _owner(value: Value) -> str:
    """The configuration of an adapter, as peft keeps it, of which a number is a field."""
    symbols = [symbol_of(option.value) for option in options(value)]
    owner = owner_of(symbols[0].origin) if len(symbols) == 1 and symbols[0] is not None else ""
    return owner if OF_MODELS in owner else ""


def _asks(ledger: Ledger, spot: Spot) -> bool:
    """Does the function read the flag, of whatever?"""
    reads = (*ledger.reads, *ledger.parts)
    return any(r.spot.function is spot.function and speaks_of_rslora(literal_of(r.key)) for r in reads)


def _says_more(table: Table) -> bool:
    """Is the flag written too, or anything under a key that is not known?"""
    keys = [literal_of(write.key) for write in table.writes]
    return not all(keys) or any(map(speaks_of_rslora, keys))


def _by_root(item: Application) -> bool:
    found = [powers_of(branch.scale) for branch in item.branches]
    rooted = [powers.below == HALF for powers in found]
    flagged = any(map(speaks_of_rslora, (atom for branch in item.branches for atom, _ in branch.guards)))
    return all(powers.is_trained for powers in found) and (all(rooted) or (any(rooted) and flagged))


def _is_plain(value: Value) -> bool:
    """Is it alpha as it was, as far as is known? What is computed may make up for the root."""
    scales = [scale_of(option.value) for option in options(value)]
    return all(scale is None or scale.by_role() == Scale.of(ALPHA) for scale in scales)
