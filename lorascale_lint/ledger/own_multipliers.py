"""Parameters of the project's own functions by which deltas are multiplied beside their trained scale."""

from __future__ import annotations

from collections import defaultdict

from lorascale_lint.bounds import CALLS_OF_A_NAME
from lorascale_lint.knowledge.roles import STRENGTHS
from lorascale_lint.ledger.applications import applications
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.left_at_default import constructor
from lorascale_lint.ledger.numbers import bare
from lorascale_lint.ledger.powers import powers_of
from lorascale_lint.linking.definitions import ClassInfo, FunctionInfo
from lorascale_lint.provenance.values import Place, options

Callee = FunctionInfo | ClassInfo


def own_multipliers(ledger: Ledger) -> dict[Callee, set[str]]:
    """By what is called; what only hands a strength on is among it."""
    return ledger.once(_own_multipliers)


def _own_multipliers(ledger: Ledger) -> dict[Callee, set[str]]:
    found: dict[Callee, set[str]] = defaultdict(set)
    for function, names in _applied(ledger).items():
        found[function] |= names
    for cls, names in _kept(ledger).items():
        found[cls] |= names
    for _ in range(CALLS_OF_A_NAME):
        before = sum(map(len, found.values()))
        for use in ledger.uses:
            caller = use.spot.function
            for name in found.get(use.callee, set()) & use.given.keys() if use.callee and caller else ():
                given = [option.value for option in options(use.given[name])]
                path = given[0].path if len(given) == 1 and isinstance(given[0], Place) else ""
                if caller is not None and not use.spot.chain and path in caller.parameters:
                    found[caller].add(path)
        if sum(map(len, found.values())) == before:
            break
    return dict(found)


def _applied(ledger: Ledger) -> dict[FunctionInfo, set[str]]:
    """Parameters by which a function multiplies all its deltas, once, beside their alpha / rank."""
    found: dict[FunctionInfo, list[set[str]]] = defaultdict(list)
    scaled: set[FunctionInfo] = set()
    for apply in ledger.applies:
        function = apply.spot.function
        if function is not None and not apply.spot.chain:
            chosen = {s.origin for s, power in apply.scale.powers if s.role in STRENGTHS and power == 1}
            trained = powers_of(apply.scale).is_trained and not apply.scale.unknowns()
            scaled |= {function} if trained else set()
            found[function].append(
                chosen & set(function.parameters) if trained or bare(apply.scale) else set()
            )
    return {function: set.intersection(*found[function]) for function in scaled}


def _kept(ledger: Ledger) -> dict[ClassInfo, set[str]]:
    """Parameters that a constructor keeps and by which every delta of the class is multiplied, once."""
    found: dict[ClassInfo, list[set[str]]] = defaultdict(list)
    for item in applications(ledger):
        cls = item.spot.cls
        init = constructor(ledger, cls) if cls is not None else None
        if cls is None or init is None:
            continue
        for branch in item.branches:
            chosen = {s.origin for s, power in branch.scale.powers if s.role in STRENGTHS and power == 1}
            found[cls].append(set() if branch.reasons else chosen & set(init.parameters))
    return {cls: set.intersection(*names) for cls, names in found.items()}
