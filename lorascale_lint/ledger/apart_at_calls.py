"""Functions that are given alpha / rank by one caller, and alpha itself by another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import ALPHA, RANK, role_of
from lorascale_lint.ledger.entries import Use, argument_of
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.left_at_default import constructor
from lorascale_lint.ledger.numbers import is_each_way, number_origins
from lorascale_lint.ledger.origins import last_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import ClassInfo, FunctionInfo
from lorascale_lint.provenance.scale import TRAINED, TRAINED_RS, Scale


@immutable(frozen=True, slots=True, eq=False)
class ApartAtCalls:
    """``raw`` is alpha, given for a multiplier of ``callee`` that is alpha / rank at ``ratio``."""

    callee: FunctionInfo | ClassInfo
    parameter: str
    raw: Spot
    ratio: Spot


def apart_at_calls(ledger: Ledger) -> Iterator[ApartAtCalls]:
    """Each call that gives alpha as it is, where the callee divides nothing itself."""
    calls: dict[tuple[FunctionInfo | ClassInfo, str], list[Use]] = defaultdict(list)
    for use in ledger.uses:
        if use.callee is not None and RANK not in {role_of(name, True) for name in use.given}:
            for name in use.given:
                calls[use.callee, name].append(use)
    seen: set[object] = set()
    for (callee, name), uses in calls.items():
        ratios = [u for u in uses if any(is_each_way(u.given[name], s) for s in (TRAINED, TRAINED_RS))]
        if not ratios or not _multiplies(ledger, callee, name):
            continue
        alphas = {last for use in ratios for last in map(last_of, number_origins(use.given[name]))}
        for use in uses:
            given, raw = use.given[name], argument_of(use, name)
            same = is_each_way(given, Scale.of(ALPHA)) and set(map(last_of, number_origins(given))) <= alphas
            if raw is not None and same and raw.node not in seen and not use.spot.file.is_test:
                seen.add(raw.node)
                yield ApartAtCalls(callee, name, raw, argument_of(ratios[0], name) or ratios[0].spot)


def _multiplies(ledger: Ledger, callee: FunctionInfo | ClassInfo, name: str) -> bool:
    """Does the callee multiply by the parameter as it is, or keep it for that?"""
    made = constructor(ledger, callee)
    if made is None or any(name in number_origins(q.value) for q in ledger.quotients if _is_in(q.spot, made)):
        return False
    return any(
        symbol.origin == name and power == 1
        for step in ledger.multiplied
        if _is_in(step.spot, made)
        for symbol, power in step.scale.powers
    )


def _is_in(spot: Spot, made: FunctionInfo) -> bool:
    """Does it happen in the function, or in the class whose constructor it is, looked at by itself?"""
    own_class = made.name == "__init__" and spot.cls is not None and spot.cls is made.owner
    return not spot.chain and (spot.function is made or own_class)
