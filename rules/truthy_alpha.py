"""LS205: the truth of alpha chooses the scale, so that alpha 0 runs at full strength."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.truths import Substituted, decided_by_truth
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
        """Applications, and scales made beforehand, whose branch the truth of a number chooses."""
        for found in decided_by_truth(ledger):
            if isinstance(found, Substituted):
                yield self._replaced(found)
                continue
            from lorascale_lint.codemods.compare_with_none import compare_with_none

            asked, applied = found.ask.spot, found.choice.applied
            named = found.is_parameter or asked.is_attribute
            yield self.at(
                asked,
                "alpha 0 is taken for a missing alpha, so "
                + ("the delta is applied unscaled" if applied else "the scale becomes 1"),
                confidence="medium" if found.unsure else "high",
                effect="effective scale 1 instead of 0 for alpha=0",
                trace=[(found.choice.spot, "alpha / rank on one branch, and no scale on the other")],
                fix=compare_with_none(ledger, asked) if named else None,
            )

    def _replaced(self, found: Substituted) -> Finding:
        word, instead = found.role, f"{float(found.constant):g}"
        return self.at(
            found.ask.spot,
            f"{word} 0 is taken for a missing {word}, so {instead} is used for it",
            confidence="medium",
            effect=f"the effect of {word} {instead} instead of none for {word}=0",
            trace=[(found.choice.spot, f"{instead} takes the place of a false {word}")],
            fix=None,
        )
