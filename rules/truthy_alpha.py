"""LS205: the truth of alpha chooses the scale, so that alpha 0 runs at full strength."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from fractions import Fraction

from lorascale_lint.findings import Finding
from lorascale_lint.knowledge.roles import ALPHA, STRENGTH, speaks_of_kohya, speaks_of_letters
from lorascale_lint.ledger.choices import Choice, choices, divided, rank_stands_in
from lorascale_lint.ledger.entries import Ask
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import only_symbol, symbol_of
from lorascale_lint.provenance.marks import none_question
from lorascale_lint.provenance.values import Number, Value, options
from lorascale_lint.rule import Rule


class TruthyAlpha(Rule):
    """Scale chosen by the truth of alpha

    ## What it finds

    `alpha / rank if alpha and rank else 1.0` (or the same as a branch) at an application, or where its
    scale is made: where alpha is 0, the delta is applied unscaled. An alpha that is looked up in an
    adapter counts as well; a parameter, or an entry of settings, that nobody applies in sight is of medium
    confidence. So is an alpha or a strength in whose place a constant is taken where it is false:
    `lora_alpha or 16`, `strength or 1.0`.

    ## Why it is wrong

    0 is a value: `0 / r` switches the adapter off (PEFT). Together with a truncated alpha it also
    catches 0.5, which becomes 0 and then full strength.

    ## Effect

    Effective scale 1 instead of 0 for alpha = 0.

    ## Bad

    ```python
    class LoRALinear:
        def merge(self):
            lora_delta = self.lora_B @ self.lora_A
            scaled = self.lora_alpha and self.lora_rank
            scale = self.lora_alpha / self.lora_rank if scaled else 1.0
            lora_delta *= scale
            self.base_layer.weight.data += lora_delta
    ```

    ## Good

    ```python
    class LoRALinear:
        def merge(self):
            lora_delta = self.lora_B @ self.lora_A
            scaled = self.lora_alpha is not None and self.lora_rank
            scale = self.lora_alpha / self.lora_rank if scaled else 1.0
            lora_delta *= scale
            self.base_layer.weight.data += lora_delta
    ```

    ## Fix safety

    Safe: for alpha = rank the test holds in both forms.

    ## Limits

    The rule "alpha None or 0 means rank" (kohya), `alpha if alpha else rank`, is a convention and not
    reported: only where alpha's truth decides between alpha / rank and no scale at all. In files that speak
    of kohya's keys (`lora_down`, `lora_unet_`), and in those that call no factor by PEFT's letters, that is
    the same convention in other words, so it is of medium confidence there, unless alpha is called
    `lora_alpha`.

    ## References

    - FastVideo 0.1.7 to 0.2.1, `merge_lora_weights`
    """

    code = "LS205"
    name = "truthy-alpha"
    severity = "warning"
    fix = "sometimes"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Applications, and scales made beforehand, whose trained branch is chosen by the truth of alpha."""
        ranked = rank_stands_in(ledger)
        asks = {atom: asked for atom, asked in _truths(ledger, ALPHA).items() if atom not in ranked}
        reported: set[ast.AST] = set()
        found = list(choices(ledger))
        for choice in found:
            ask = _decisive(choice, asks)
            if ask is None or ask.spot.node in reported or (choice.spot.file.is_test and not choice.applied):
                continue
            reported.add(ask.spot.node)
            named = isinstance(ask.spot.node, ast.Name)
            parameter = named and ask.spot.function is not None and _name(ask) in ask.spot.function.parameters
            made = not choice.applied and (parameter or _of_settings(ask))
            unsure = made or _may_mean_rank(ask) or not _is_whole(ask)
            from lorascale_lint.codemods.compare_with_none import compare_with_none

            yield self.at(
                ask.spot,
                "alpha 0 is taken for a missing alpha, so "
                + ("the delta is applied unscaled" if choice.applied else "the scale becomes 1"),
                confidence="medium" if unsure else "high",
                effect="effective scale 1 instead of 0 for alpha=0",
                trace=[(choice.spot, "alpha / rank on one branch, and no scale on the other")],
                fix=compare_with_none(ledger, ask.spot)
                if parameter or isinstance(ask.spot.node, ast.Attribute)
                else None,
            )

        yield from self._replaced(ledger, found, reported, ranked)

    def _replaced(
        self, ledger: Ledger, found: list[Choice], reported: Collection[ast.AST], ranked: Collection[str]
    ) -> Iterator[Finding]:
        """Alphas and strengths in whose place a constant is taken where they are 0; never a rank."""
        seen = set(reported)
        for role, word in ((ALPHA, "alpha"), (STRENGTH, "strength")):
            asks = {atom: asked for atom, asked in _truths(ledger, role).items() if atom not in ranked}
            for choice in found:
                constant, ask = _substitute(choice, asks, role)
                if ask is None or ask.spot.node in seen or choice.spot.file.is_test:
                    continue
                seen.add(ask.spot.node)
                yield self.at(
                    ask.spot,
                    f"{word} 0 is taken for a missing {word}, so {float(constant):g} is used for it",
                    confidence="medium",
                    effect=f"the effect of {word} {float(constant):g} instead of none for {word}=0",
                    trace=[(choice.spot, f"{float(constant):g} takes the place of a false {word}")],
                    fix=None,
                )


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


def _name(ask: Ask) -> str:
    return getattr(ask.spot.node, "id", "")


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
