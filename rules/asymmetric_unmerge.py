"""LS109: an unmerge is not the inverse of its merge."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from lorascale_lint.findings import Finding, Repair
from lorascale_lint.ledger.asymmetries import asymmetries
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.rule import Rule


def _repairs() -> dict[str, Callable[..., Repair]]:
    """The repair of each kind of asymmetry."""
    from lorascale_lint.codemods.assign_result import assign_weight
    from lorascale_lint.codemods.clone_backup import clone_backup
    from lorascale_lint.codemods.subtract_delta import subtract_delta
    from lorascale_lint.codemods.transpose_like import transpose_like

    return {
        "turned": transpose_like,
        "added": subtract_delta,
        "dropped": assign_weight,
        "shared": clone_backup,
    }


class AsymmetricUnmerge(Rule):
    """Unmerge that is not the inverse of its merge

    ## What it finds

    A merge and an unmerge of one class (or `merge_x` and `unmerge_x` of one file) that differ in more
    than the sign: another scale, a strength on one side, a transpose on one side, an unmerge that adds, by
    its name or by the flag of the object that it takes down; a merge that subtracts what `forward` adds,
    beside an unmerge that adds it.
    Also a weight plus or minus a delta whose result is dropped, everywhere or on one branch only, and a
    saved weight that is no copy although the merge changes the weight in place; and a layer that merges
    several adapters (`accumulate`) while it keeps the factors of the last, so that it can't merge them again;
    and a merge that sets a factor to zero, beside an unmerge that subtracts the product of what is left.

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
    again is subtracted; an embedding's is transposed on both sides; accumulated adapters are kept in a list,
    and merged again from there, where the unmerge puts a saved weight back. No fix where scale or strength
    differ, or a linear layer's layout: either side may be the wrong one. Keep the strength of the merge, and
    take the delta back at that.

    ## Limits

    Compares what is understood on both sides. A strength that is changed between merge and unmerge is
    not seen, and neither is a backup that goes through a dictionary.

    ## References

    - adapter-hub/adapters, `reset_adapter`: the DoRA branch drops what it computes
    - microsoft/LoRA, `Embedding.train`: the unmerge transposes the delta, the merge did not
    - FastVideo 0.2.0 and 0.2.1 accumulate; SGLang's layer of the same descent keeps a list of adapters
    """

    code = "LS109"
    name = "asymmetric-unmerge"
    fix = "sometimes"
    yields_to = ("LS101",)

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Every asymmetry of a merge and its unmerge."""
        for found in asymmetries(ledger):
            fix = _repairs()[found.kind](ledger, *found.places) if found.places else None
            if found.accumulation is not None:
                from lorascale_lint.codemods.keep_merged_adapters import keep_merged_adapters

                fix = keep_merged_adapters(ledger, found.accumulation)
            yield self.at(
                found.spot,
                found.text,
                confidence=found.confidence,
                effect=found.effect,
                trace=found.steps,
                fix=fix,
            )
