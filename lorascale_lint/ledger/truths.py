"""Questions for the truth of alpha, or of a strength, that choose what a delta is multiplied by."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Collection, Mapping
from fractions import Fraction

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import ALPHA, STRENGTH
from lorascale_lint.knowledge.speech import speaks_of_kohya, speaks_of_letters
from lorascale_lint.ledger.choices import Choice, choices, divided, rank_stands_in
from lorascale_lint.ledger.entries import Ask
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import only_symbol, symbol_of
from lorascale_lint.provenance.marks import none_question
from lorascale_lint.provenance.values import Number, Value, options


@immutable(frozen=True, slots=True)
class Decided:
    """A choice between alpha / rank and no scale that the truth of alpha makes."""

    choice: Choice
    ask: Ask
    is_parameter: bool
    unsure: bool
    """Nobody may give 0 there, or 0 means the rank."""


@immutable(frozen=True, slots=True)
class Substituted:
    """A constant that takes the place of an alpha, or of a strength, which is 0."""

    choice: Choice
    ask: Ask
    role: str
    constant: Fraction


def decided_by_truth(ledger: Ledger) -> list[Decided | Substituted]:
    """Applications, and scales made beforehand, whose branch is chosen by the truth of a number."""
    ranked = rank_stands_in(ledger)
    seen: set[ast.AST] = set()
    found = list(choices(ledger))
    made: list[Decided | Substituted] = []
    asks = _open(ledger, ALPHA, ranked)
    for choice in found:
        ask = _decisive(choice, asks)
        if ask is None or ask.spot.node in seen or (choice.spot.file.is_test and not choice.applied):
            continue
        seen.add(ask.spot.node)
        function, name = ask.spot.function, ask.spot.variable
        parameter = bool(name) and function is not None and name in function.parameters
        beforehand = not choice.applied and (parameter or _of_settings(ask))
        made.append(Decided(choice, ask, parameter, beforehand or _may_mean_rank(ask) or not _is_whole(ask)))
    for role in (ALPHA, STRENGTH):
        asks = _open(ledger, role, ranked)
        for choice in found:
            constant, ask = _substitute(choice, asks, role)
            if ask is not None and ask.spot.node not in seen and not choice.spot.file.is_test:
                seen.add(ask.spot.node)
                made.append(Substituted(choice, ask, role, constant))
    return made


def _open(ledger: Ledger, role: str, ranked: Collection[str]) -> dict[str, list[Ask]]:
    return {atom: asked for atom, asked in _truths(ledger, role).items() if atom not in ranked}


def _is_whole(ask: Ask) -> bool:
    """Is alpha cut to a whole number before it is asked, so that 0.5 is 0 there?"""
    return any(isinstance(o.value, Number) and o.value.truncated for o in options(ask.value))


def _of_settings(ask: Ask) -> bool:
    """Is it an entry of settings (``config["lora_alpha"]``), where nobody puts 0?"""
    symbols = (symbol_of(option.value) for option in options(ask.value))
    origins = (s.origin.rpartition("[") for s in symbols if s is not None and s.origin.endswith("]"))
    return any(bracket and key[:-1].isidentifier() for _, bracket, key in origins)


def _may_mean_rank(ask: Ask) -> bool:
    """Is alpha 0 the rank by convention: kohya's, and that of programs which read kohya's files?"""
    source = ask.spot.file.source
    if "lora_alpha" in ask.atom:
        return False
    return speaks_of_kohya(source) or not ("network_alpha" in ask.atom or speaks_of_letters(source))


def _substitute(choice: Choice, asks: Mapping[str, list[Ask]], role: str) -> tuple[Fraction, Ask | None]:
    """The constant that stands for a number where that is false, and the question."""
    for scale, guards in choice.branches:
        symbol = only_symbol(scale)
        if symbol is None or symbol.role != role:
            continue
        for other, others in choice.branches:
            for atom, holds in others if other.constant else ():
                if not holds and atom in asks and (atom, False) not in guards:
                    missing = (none_question(atom), True) in others
                    return other.constant or Fraction(0), None if missing else _nearest(asks[atom], choice)
    return Fraction(0), None


def _truths(ledger: Ledger, role: str) -> dict[str, list[Ask]]:
    """Questions for the truth of a number with the role, by the condition; of ``alpha and r`` for alpha."""
    asked = [ask for ask in ledger.asks if ask.how == "truth"]
    alone = {(ask.spot.function, ask.value): ask for ask in asked}
    found: dict[str, list[Ask]] = defaultdict(list)
    for ask in asked:
        alphas = [option.value for option in options(ask.value) if _has_role(option.value, role)]
        if alphas:
            parts = (alone.get((ask.spot.function, value)) for value in alphas)
            found[ask.atom].append(next((part for part in parts if part is not None), ask))
    return found


def _has_role(value: Value, role: str) -> bool:
    symbol = symbol_of(value)
    return symbol is not None and symbol.role == role


def _decisive(choice: Choice, asks: Mapping[str, list[Ask]]) -> Ask | None:
    """The question whose yes leads to alpha / rank, and whose no to the same without it."""
    if not any(atom in asks for _, guards in choice.branches for atom, _ in guards):
        return None  # most choices: no algebra is needed
    for scale, guards in choice.branches:
        unscaled = [others for other, others in choice.branches if divided(scale, other)]
        asked = [(atom, True) for atom, holds in guards if holds and unscaled]
        # Where another alpha is a way to the same scale, only the unscaled branch tells what was asked.
        asked += [no for others in unscaled for no in others if not no[1] and no not in guards]
        for atom, in_guards in asked:
            missing = {(atom, True), (none_question(atom), True)}
            others = unscaled if in_guards else [one for one in unscaled if (atom, False) in one]
            if atom in asks and any(missing.isdisjoint(one) for one in others):
                return _nearest(asks[atom], choice)
    return None


def _nearest(asks: list[Ask], choice: Choice) -> Ask | None:
    """The last question before the choice in its function; those on a field are called alike anywhere."""
    spot = choice.spot
    before = [ask for ask in asks if ask.spot.function is spot.function and ask.spot.row <= spot.end_row]
    if before:
        return max(before, key=lambda ask: ask.spot.row)
    others = (a for a in asks if a.spot.file is spot.file or a.spot.cls is spot.cls or "@" in a.atom)
    return next(others, None)
