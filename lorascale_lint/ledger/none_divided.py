"""Alphas that are None where nobody gives one, and are divided by the rank all the same."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import ALPHA, RANK
from lorascale_lint.ledger.conditions import names_in
from lorascale_lint.ledger.entries import KeyRead, Quotient, Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import alpha_of, alphas_of, scale_of
from lorascale_lint.ledger.origins import root_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import key_role_of
from lorascale_lint.provenance.guards import Guards
from lorascale_lint.provenance.values import NONE, Text, Value, options


@immutable(frozen=True, slots=True, eq=False)
class NoneDivided:
    """``name`` may be None ``since`` there; ``call`` is one that leaves it out."""

    divided: Quotient
    name: str
    since: Spot
    call: Spot | None = None


def none_divided(ledger: Ledger) -> Iterator[NoneDivided]:
    """Parameters that are None by default, then entries of a file that may be missing; each once."""
    defaults = {
        (item.spot.file.filename, item.owner, item.name): item.spot
        for item in ledger.defaults
        if item.how == "parameter" and item.value == NONE
    }
    reads = [read for read in ledger.reads if read.how == "get" and _may_be_missing(read)]
    seen: set[tuple[str, int]] = set()
    for quotient in ledger.quotients:
        spot, name = quotient.spot, alpha_of(quotient.value)
        place = (spot.file.filename, spot.row)
        if not name or spot.chain or spot.file.is_test or place in seen or not _is_by_rank(quotient.by):
            continue
        if _is_asked(name, quotient.guards):
            continue
        since = defaults.get((spot.file.filename, spot.name, name.partition("=")[0]))
        calls = _calls(ledger, spot, name.partition("=")[0]) if since is not None else []
        left_out = next((use for use, given in calls if not given), None)
        if since is not None and (left_out is not None or not calls):
            seen.add(place)
            yield NoneDivided(
                quotient, name.partition("=")[0], since, None if left_out is None else left_out.spot
            )
        read = next(
            (r for r in reads if r.spot.function is spot.function and name in alphas_of(r.value)), None
        )
        if read is not None and not _is_looked_at(ledger, spot, name):
            seen.add(place)
            yield NoneDivided(quotient, "alpha", read.spot)


def _is_by_rank(value: Value) -> bool:
    scales = [scale_of(option.value) for option in options(value)]
    return all(s is not None and any(symbol.role == RANK for symbol, _ in s.powers) for s in scales)


def _is_asked(name: str, guards: Guards) -> bool:
    """Does a condition speak of the number?"""
    root = root_of(name.partition("=")[0])
    return any(root in names_in(condition) for condition, _ in guards)


def _may_be_missing(read: KeyRead) -> bool:
    """Is it the alpha of a module of a file, which is None where the file has none?"""
    named = isinstance(read.key, Text) and any(isinstance(part, str) for part in read.key.parts)
    held = [option.value for option in options(read.value)]
    return named and NONE in held and key_role_of(read.key) == ALPHA and not _literal(read.key)


def _literal(key: Value) -> bool:
    return isinstance(key, Text) and key.literal is not None


def _is_looked_at(ledger: Ledger, spot: Spot, name: str) -> bool:
    """Does the function ask anywhere whether there is one?"""
    return any(
        ask.spot.function is spot.function and name in alphas_of(ask.value)
        for ask in ledger.asks
        if ask.how in ("none", "truth", "isinstance")
    )


def _calls(ledger: Ledger, spot: Spot, name: str) -> list[tuple[Use, bool]]:
    """Calls in sight of the function, and whether they give the parameter something."""
    found = []
    for use in ledger.uses:
        node = use.spot.node
        if use.callee is not spot.function or not isinstance(node, ast.Call) or use.spot.file.is_test:
            continue
        given = use.given.get(name, NONE)
        found.append((use, use.hidden or any(option.value != NONE for option in options(given))))
    return found
