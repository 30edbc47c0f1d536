"""LS109: an unmerge is not the inverse of its merge."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.codemods.assign_result import assign_to, assign_weight
from lorascale_lint.codemods.clone_backup import clone_backup
from lorascale_lint.codemods.keep_merged_adapters import keep_merged_adapters
from lorascale_lint.codemods.subtract_delta import subtract_delta
from lorascale_lint.codemods.transpose_like import transpose_like
from lorascale_lint.findings import Finding, Repair
from lorascale_lint.model import Model
from lorascale_lint.model.accumulated_merges import lost_adapters
from lorascale_lint.model.discarded_weights import discarded_weights
from lorascale_lint.model.unmerge_pairs import Asymmetry, asymmetries
from lorascale_lint.rule import Rule


class AsymmetricUnmerge(Rule):
    """Unmerge that is not the inverse of its merge

    ## What it finds

    A merge and an unmerge of one class (or `merge_x` and `unmerge_x` of one file) that differ in more
    than the sign: another scale, a strength on one side, a transpose on one side, an unmerge that adds.
    Also a weight plus or minus a delta whose result is dropped, everywhere or on one branch only, and a
    saved weight that is no copy although the merge changes the weight in place; and a layer that merges
    several adapters (`accumulate`) while it keeps the factors of the last, so that it can't merge them again.

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
        for lost in lost_adapters(model):
            setter, (caller, call) = lost.accumulation.setter.function, lost.again
            yield self.finding(
                model,
                setter.filename,
                lost.write.event.loc,
                f"`{setter.facts.name}` replaces the factors of adapters that `{lost.accumulation.flag}` "
                "leaves in the weight",
                event=lost.write.event,
                effect="the former adapters are lost as soon as the layer is merged again",
                trace=[
                    (
                        lost.accumulation.merge.filename,
                        lost.accumulation.unmerging.loc,
                        f"no unmerge for that value of `{lost.accumulation.flag}`: the new delta is added",
                    ),
                    (caller.filename, call.loc, "this merges again, from the factors of the last adapter"),
                ],
                fix=keep_merged_adapters(model, lost.accumulation),
            )


def _repair(model: Model, found: Asymmetry) -> Repair | None:
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
