"""LS109: an unmerge is not the inverse of its merge."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.model import Model
from lorascale_lint.model.discarded_weights import discarded_weights
from lorascale_lint.model.unmerge_pairs import asymmetries
from lorascale_lint.rule import Rule


class AsymmetricUnmerge(Rule):
    """Unmerge that is not the inverse of its merge

    ## What it finds

    A merge and an unmerge of one class (or `merge_x` and `unmerge_x` of one file) that differ in more
    than the sign: another scale, a strength on one side, a transpose on one side, an unmerge that adds.
    Also a weight plus or minus a delta whose result is dropped, everywhere or on one branch only, and a
    saved weight that is no copy although the merge changes the weight in place.

    ## Why it is wrong

    After merge and unmerge the weight must be `W`. What differs stays in it, and grows with each cycle
    of training and evaluation.

    ## Effect

    A residual of the delta in the base weight; for a dropped result, all of it.

    ## Bad

    ```python
    class LoRALinear:
        def __init__(self, base_layer, lora_A, lora_B, lora_scaling):
            self.base_layer = base_layer
            self.lora_A = lora_A
            self.lora_B = lora_B
            self.lora_scaling = lora_scaling

        def merge(self, strength=1.0):
            delta = self.lora_B @ self.lora_A
            self.base_layer.weight.data += strength * self.lora_scaling * delta

        def unmerge(self):
            self.base_layer.weight.data -= self.lora_scaling * (self.lora_B @ self.lora_A)
    ```

    ## Good

    ```python
    class LoRALinear:
        def __init__(self, base_layer, lora_A, lora_B, lora_scaling):
            self.base_layer = base_layer
            self.lora_A = lora_A
            self.lora_B = lora_B
            self.lora_scaling = lora_scaling

        def merge(self, strength=1.0):
            delta = self.lora_B @ self.lora_A
            self.base_layer.weight.data += strength * self.lora_scaling * delta

        def unmerge(self, strength=1.0):
            delta = self.lora_B @ self.lora_A
            self.base_layer.weight.data -= strength * self.lora_scaling * delta
    ```

    ## Fix safety

    No fix: either side may be the wrong one.

    ## Limits

    Compares what is understood on both sides. A strength that is changed between merge and unmerge is
    not seen, and neither is a backup that goes through a dictionary.

    ## References

    - adapter-hub/adapters, `reset_adapter`: the DoRA branch drops what it computes
    - microsoft/LoRA, `Embedding.train`: the unmerge transposes the delta, the merge did not
    """

    code = "LS109"
    name = "asymmetric-unmerge"

    def check(self, model: Model) -> Iterator[Finding]:
        """Every asymmetry of a merge and its unmerge."""
        for found in (*asymmetries(model), *discarded_weights(model)):
            yield self.finding(
                model,
                found.function.filename,
                found.loc,
                found.text,
                event=found.event,
                effect=found.effect,
                trace=found.steps,
            )
