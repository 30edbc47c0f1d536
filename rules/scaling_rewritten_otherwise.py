"""LS223: a stored scaling is computed anew by another formula than where it was made."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.effect import effect_of
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.stored_scalings import other_formulas
from lorascale_lint.provenance.scale import TRAINED, TRAINED_RS
from lorascale_lint.rule import Rule


class ScalingRewrittenOtherwise(Rule):
    """Stored scaling computed anew as alpha / rank, though it may be that of rsLoRA

    ## What it finds

    A class that stores alpha / sqrt(rank) for an rsLoRA adapter and alpha / rank for another one, and a
    method of the same object that stores alpha / rank again (set, reset, rescale) whatever the adapter is.

    ## Why it is wrong

    All writers of one stored scaling must use one formula. The first call of the method replaces the
    scale of an rsLoRA adapter by one that is weaker by the root of the rank.

    ## Effect

    For an rsLoRA adapter 11.31x too weak at rank=128 after the call.

    ## Bad

    ```python
    class LoraLayer:
        def add_adapter(self, name, lora_r, lora_alpha, use_rslora):
            self.lora_r[name], self.lora_alpha[name] = lora_r, lora_alpha
            if use_rslora:
                self.scaling[name] = lora_alpha / math.sqrt(lora_r)
            else:
                self.scaling[name] = lora_alpha / lora_r

        def set_strength(self, name, strength):
            self.scaling[name] = strength * self.lora_alpha[name] / self.lora_r[name]
    ```

    ## Good

    ```python
    class LoraLayer:
        def add_adapter(self, name, lora_r, lora_alpha, use_rslora):
            self.lora_r[name], self.lora_alpha[name] = lora_r, lora_alpha
            if use_rslora:
                self.scaling[name] = lora_alpha / math.sqrt(lora_r)
            else:
                self.scaling[name] = lora_alpha / lora_r
            self.trained[name] = self.scaling[name]

        def set_strength(self, name, strength):
            self.scaling[name] = strength * self.trained[name]
    ```

    ## Fix safety

    No fix: the object must keep the trained scale, or the flag, from where the adapter is made. Store it
    beside alpha and use it here.

    ## Limits

    Silent where the method itself speaks of rsLoRA, where it overrides the one that knows the flag, and
    where a scale that is stored is not known.

    ## References

    - PEFT `LoraLayer.set_scale` and `unscale_layer`, repaired in pull request 2540
    """

    code = "LS223"
    name = "scaling-rewritten-otherwise"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Methods that store alpha / rank where another one may have stored that of rsLoRA."""
        for writer, root in other_formulas(ledger):
            yield self.at(
                writer.spot,
                f"`{writer.function.qualname}` stores alpha / rank in `{writer.field}` for every adapter",
                effect=f"for an rsLoRA adapter: {effect_of(TRAINED, TRAINED_RS)}",
                trace=[
                    (root.spot, f"`{root.function.qualname}` stores alpha / sqrt(rank) for rsLoRA"),
                    (writer.spot, "here it is replaced by alpha / rank"),
                ],
            )
