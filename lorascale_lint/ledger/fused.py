"""Strengths that are given to a pipeline whose adapters are in its weights already."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.pipelines import (
    FUSES,
    FUSES_SOME,
    MAKES_PIPELINES,
    PUTS_ADAPTERS_IN,
    TAKES_FUSED_OUT,
)
from lorascale_lint.ledger.entries import Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import scale_of, symbol_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.strengths import GivenStrength, given_strengths
from lorascale_lint.linking.definitions import FileInfo
from lorascale_lint.provenance.guards import contradict
from lorascale_lint.provenance.marks import LOOP
from lorascale_lint.provenance.scale import ONE
from lorascale_lint.provenance.values import Place, options

_Owner = tuple[str, str, str]
"""A pipeline: the file and the class or function where it is known, and its name there."""


@immutable(frozen=True, slots=True, eq=False)
class StrengthOfFused:
    """``fuse`` put the adapters into the weights; the strength at ``spot`` comes too late."""

    fuse: Use
    spot: Spot
    is_repeated: bool
    """Is it the same call, in the next round of a loop?"""


def strengths_of_fused(ledger: Ledger) -> Iterator[StrengthOfFused]:
    """Each strength once; silent where it is the one that was fused, or 1."""
    strengths: dict[int, list[GivenStrength]] = defaultdict(list)
    for given in given_strengths(ledger):
        if scale_of(given.value) != ONE:
            strengths[id(given.use)].append(given)
    seen: set[object] = set()
    for uses in _pipelines(ledger):
        for fuse, given in _too_late(uses, strengths):
            if given.spot.node not in seen:
                seen.add(given.spot.node)
                yield StrengthOfFused(fuse, given.spot, fuse is given.use)


def _too_late(
    uses: list[Use], strengths: dict[int, list[GivenStrength]]
) -> Iterator[tuple[Use, GivenStrength]]:
    fused: Use | None = None
    for use in uses:
        if use.called in TAKES_FUSED_OUT | PUTS_ADAPTERS_IN:
            fused = None
        elif use.called == FUSES:
            whole = not use.hidden and not FUSES_SOME & use.given.keys()
            fused = use if whole else None
            yield from ((use, given) for given in strengths[id(use)] if whole and _is_in_a_loop(use, uses))
        elif fused is not None and not contradict(fused.guards, use.guards):
            known = {symbol_of(given.value) for given in strengths[id(fused)]}
            yield from ((fused, given) for given in strengths[id(use)] if symbol_of(given.value) not in known)


def _pipelines(ledger: Ledger) -> Iterator[list[Use]]:
    """What is called of one object of a library, in the order in which that is done."""
    files = {use.spot.file.filename: use.spot.file for use in ledger.uses}
    made: Counter[_Owner] = Counter()
    found: dict[_Owner, list[Use]] = defaultdict(list)
    for use in ledger.uses:
        if use.callee is not None or use.spot.file.is_test:
            continue
        scope = _scope(use, files)
        for option in options(use.result):
            if isinstance(option.value, Place) and use.called in MAKES_PIPELINES:
                made[*scope, option.value.path] += 1
        for path in {use.name, use.name.rpartition(".")[0]}:
            found[*scope, path].append(use)
    for owner, uses in found.items():
        fuses = any(use.name == f"{owner[-1]}.{FUSES}" for use in uses)
        if fuses and made[owner] < 2:  # else: two of one name
            yield uses


def _scope(use: Use, files: Mapping[str, FileInfo]) -> tuple[str, str]:
    """The file, and the class there or the function that runs: their names are those of one pipeline."""
    file, cls, function = use.spot.file, use.spot.cls, use.spot.function
    if use.spot.chain:
        filename, _, row = use.spot.chain[0].rpartition(":")
        file = files.get(filename, file)
        function = file.function_at(int(row))
        cls = function.owner if function is not None else None
    name = cls.name if cls is not None else function.qualname if function is not None else ""
    return (file.filename, name)


def _is_in_a_loop(fuse: Use, uses: list[Use]) -> bool:
    """Is the pipeline fused in each round of a loop, and taken out, or made anew, in none?"""
    rounds = {name for name, holds in fuse.guards if holds and name.startswith(LOOP)}
    resets = TAKES_FUSED_OUT | PUTS_ADAPTERS_IN | MAKES_PIPELINES
    return bool(rounds) and not any(
        rounds & {name for name, _ in other.guards} and other.called in resets for other in uses
    )
