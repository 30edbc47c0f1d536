"""LS109: an unmerge is not the inverse of its merge."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.codemods.assign_result import assign_to, assign_weight
from lorascale_lint.codemods.clone_backup import clone_backup
from lorascale_lint.codemods.subtract_delta import subtract_delta
from lorascale_lint.codemods.transpose_like import transpose_like
from lorascale_lint.findings import Finding, Fix
from lorascale_lint.model import Model
from lorascale_lint.model.discarded_weights import discarded_weights
from lorascale_lint.model.unmerge_pairs import Asymmetry, asymmetries
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

        def lora_delta(self):
            return self.lora_scaling * (self.lora_B @ self.lora_A)

        def merge(self):
            self.base_layer.weight.data += self.lora_delta()

        def unmerge(self):
            weight = self.base_layer.weight.data - self.lora_delta()
    ```

    ## Good

    ```python
    class LoRALinear:
        def __init__(self, base_layer, lora_A, lora_B, lora_scaling):
            self.base_layer = base_layer
            self.lora_A = lora_A
            self.lora_B = lora_B
            self.lora_scaling = lora_scaling

        def lora_delta(self):
            return self.lora_scaling * (self.lora_B @ self.lora_A)

        def merge(self):
            self.base_layer.weight.data += self.lora_delta()

        def unmerge(self):
            self.base_layer.weight.data = self.base_layer.weight.data - self.lora_delta()
    ```

    ## Fix safety

    Unsafe: the weight changes, to what it was before the merge. A dropped result is assigned, where its
    sibling assigns or to the weight that it was computed of; a saved weight is copied; a delta that is added
    again is subtracted; an embedding's is transposed on both sides. No fix where scale or strength differ, or
    a linear layer's layout: either side may be the wrong one. Keep the strength of the merge, and take the
    delta back at that.

    ## Limits

    Compares what is understood on both sides. A strength that is changed between merge and unmerge is
    not seen, and neither is a backup that goes through a dictionary.

    ## References

    - adapter-hub/adapters, `reset_adapter`: the DoRA branch drops what it computes
    - microsoft/LoRA, `Embedding.train`: the unmerge transposes the delta, the merge did not
    """

    code = "LS109"
    name = "asymmetric-unmerge"
    fix = "sometimes"

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
                fix=_repair(model, found),
            )


def _repair(model: Model, found: Asymmetry) -> Fix | None:
    filename, statement = found.function.filename, found.event.loc
    if found.sibling is not None:
        return assign_to(model, filename, statement, found.sibling)
    if found.weight is not None:
        return assign_weight(model, filename, statement, found.weight)
    if found.uncopied:
        return clone_backup(model, filename, found.uncopied)
    if found.added is not None:
        return subtract_delta(model, filename, found.added)
    return None if found.turned is None else transpose_like(model, filename, statement, found.turned)
