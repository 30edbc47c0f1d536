"""Ranks of single modules that a configuration has, beside scales that have the rank of all others."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.interfaces import (
    ALPHA_FIELD,
    ALPHAS_FIELD,
    FLAG_FIELD,
    RANK_FIELD,
    RANKS_FIELD,
)
from lorascale_lint.knowledge.roles import ALPHA, RANK
from lorascale_lint.ledger.contracts import Contracts, Meeting, is_of_a_file
from lorascale_lint.ledger.entries import Apply, Fold, KeyRead
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.misnamed_fields import misnamed_fields
from lorascale_lint.ledger.numbers import number_origins, quotient_scales
from lorascale_lint.ledger.raising import raises, tests_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import literal_of
from lorascale_lint.provenance.scale import Scale
from lorascale_lint.provenance.values import NONE, Place, options


@immutable(frozen=True, slots=True, eq=False)
class RankOfAll:
    """``alpha`` is divided at ``divided`` by ``rank``, though ``ranks`` has those of single modules."""

    alpha: KeyRead
    rank: KeyRead
    ranks: KeyRead
    divided: Spot
    used: Spot


@immutable(frozen=True, slots=True, eq=False)
class LostPattern:
    """Where a table of single modules has no effect, in words."""

    spot: Spot
    message: str
    effect: str
    steps: tuple[tuple[Spot, str], ...]


def lost_patterns(ledger: Ledger) -> Iterator[LostPattern]:
    """Tables that are asked for under another name, or left out of the scale."""
    for wrong in misnamed_fields(ledger):
        if wrong.meant != FLAG_FIELD:
            yield LostPattern(
                wrong.spot,
                f"no adapter configuration has a field `{wrong.name}`: it is `{wrong.meant}`",
                "the module's own scale is replaced by lora_alpha / r",
                (
                    (wrong.origin, "the configuration comes from here"),
                    (wrong.spot, "this is never set by it"),
                ),
            )
    for found in ranks_of_all(ledger):
        yield LostPattern(
            found.divided,
            "alpha is divided by the rank of all modules, while `rank_pattern` is looked at for those of "
            "single ones",
            "lora_alpha / r instead of lora_alpha / the module's own rank",
            (
                (found.ranks.spot, "a module may have a rank of its own"),
                (found.rank.spot, "and this is the rank of all others"),
                (found.used, "which is in the scale of every module"),
            ),
        )
    yield from _unasked(ledger)


def _unasked(ledger: Ledger) -> Iterator[LostPattern]:
    """A function looks alphas of single modules up, and divides; nothing in sight asks for their ranks.

    What divides elsewhere may be the scale of all others, or a message.
    """
    contracts = ledger.once(Contracts)
    every = {literal_of(read.key) for read in (*ledger.reads, *ledger.parts)}
    for path, reads in list(contracts.reads_of.items()) if RANKS_FIELD not in every else ():
        fields = {literal_of(read.key): read for read in reversed(reads) if not read.spot.file.is_test}
        alpha, rank, alphas = (fields.get(name) for name in (ALPHA_FIELD, RANK_FIELD, ALPHAS_FIELD))
        if alpha is None or rank is None or alphas is None:
            continue
        below = set(number_origins(rank.value))
        by_rank = (q for q in ledger.quotients if below & {*number_origins(q.by)})
        own = rank.spot.function if alphas.spot.function is rank.spot.function else None
        divided = next((q.spot for q in by_rank if own is not None and q.spot.function is own), None)
        if divided is not None and contracts.loaded(Meeting(path, alpha, rank, divided)) is not None:
            yield LostPattern(
                divided,
                "the alphas of single modules are looked up, and divided by the rank of all",
                "alpha / r instead of alpha / the module's own rank",
                (
                    (alphas.spot, "a module may have an alpha of its own, and a rank in `rank_pattern`"),
                    (rank.spot, "and this is the rank of all others"),
                ),
            )


def ranks_of_all(ledger: Ledger) -> Iterator[RankOfAll]:
    """Loaded configurations whose ranks of single modules are looked at, and left out of every scale."""
    contracts = ledger.once(Contracts)
    walked = {path for path, reads in contracts.reads_of.items() if any(r.how in _WALKS for r in reads)}
    uses = _scales(ledger) if walked else {}
    for reads in list(contracts.reads_of.values()):
        fields = {literal_of(read.key): read for read in reversed(reads) if not read.spot.file.is_test}
        alpha, rank, ranks = (fields.get(name) for name in (ALPHA_FIELD, RANK_FIELD, RANKS_FIELD))
        if alpha is None or rank is None or ranks is None:
            continue
        table = {option.value.path for option in options(ranks.value) if isinstance(option.value, Place)}
        above, below = set(number_origins(alpha.value)), set(number_origins(rank.value))
        used = [item for origin in above for item in uses.get(origin, ())]
        if table.isdisjoint(walked) or not used or not all(_ranks(scale) <= below for scale, _ in used):
            continue
        if _are_refused(ledger, reads, table, below):
            continue
        path = next((o.value.path for o in options(alpha.container) if isinstance(o.value, Place)), "")
        divided = next(iter(_divided(ledger, alpha)), None)
        files = {read.spot.file for read in (alpha, rank, ranks)}
        if divided is None or files != {divided.file}:
            continue
        if contracts.loaded(Meeting(path, alpha, rank, divided)) is not None:
            yield RankOfAll(alpha, rank, ranks, divided, used[0][1])


def _are_refused(ledger: Ledger, reads: list[KeyRead], table: set[str], below: set[str]) -> bool:
    """Is something raised where there are such ranks, or where one is another than that of all?"""
    spots = [read.spot for read in reads if literal_of(read.key) == RANKS_FIELD]
    for ask in ledger.asks:
        own, other = set(number_origins(ask.value)), set(number_origins(ask.other or NONE))
        inside = [any(origin.startswith(tuple(table)) for origin in side) for side in (own, other)]
        compared = ask.how in ("Eq", "NotEq") and any(inside) and (own if inside[1] else other) <= below
        if compared or (inside[0] and ask.how == "truth"):
            spots.append(ask.spot)
    return any(raises(test) for spot in spots for test in tests_of(spot) if not isinstance(test, ast.IfExp))


_WALKS = frozenset({"all", "item", "get"})


def _scales(ledger: Ledger) -> dict[str, list[tuple[Scale, Spot]]]:
    """What multiplies factors and deltas, by the alphas in it."""
    found: dict[str, list[tuple[Scale, Spot]]] = defaultdict(list)
    entries: list[Fold | Apply] = [*ledger.folds, *ledger.applies]
    for entry in entries:
        for symbol, power in entry.scale.powers:
            if symbol.role == ALPHA and power > 0:
                found[symbol.origin].append((entry.scale, entry.spot))
    return found


def _ranks(scale: Scale) -> set[str]:
    """The ranks in it; what is not known may be one."""
    return {symbol.origin for symbol, _ in scale.powers if symbol.role in (RANK, "")}


def uses_of(ledger: Ledger, alpha: KeyRead) -> list[Spot]:
    """Where an alpha that is read is divided, else where it is written as that of a file; each place once."""
    origins = set(number_origins(alpha.value))
    written = {
        (write.spot.file.filename, write.spot.row): write.spot
        for write in ledger.writes
        if is_of_a_file(write) and not origins.isdisjoint(number_origins(write.value))
    }
    return _divided(ledger, alpha) or list(written.values())


def _divided(ledger: Ledger, alpha: KeyRead) -> list[Spot]:
    origins = set(number_origins(alpha.value))
    found = {
        (quotient.spot.file.filename, quotient.spot.row): quotient.spot
        for quotient in ledger.quotients
        for scale, _ in quotient_scales(quotient)
        if any(s.role == ALPHA and s.origin in origins for s, _ in scale.powers)
    }
    return list(found.values())
