"""LS125: a delta is written into a layer's weight by hand, and the layer merges it again."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.merged_twice import merged_twice
from lorascale_lint.rule import Rule


class MergedTwice(Rule):
    """Delta written into a weight by hand and merged by the layer again

    ## What it finds

    A function that takes the delta of a layer, writes weight and delta into the layer's weight, and then
    tells the same layer to merge; and one that adds the products of the factors of a model's modules to their
    weights, and then tells the model to merge.

    ## Why it is wrong

    The layer adds the same delta to a weight that has it. A round trip of merge and unmerge that is
    written alike hides it: what is wrong is every output in between.

    ## Effect

    2.00x too strong while it is merged.

    ## Bad

    ```python
    class AttentionWithLora:
        def merge_all(self, name):
            projection = self.attention.out_proj
            weight = projection.base_layer.weight.data + projection.get_delta_weight(name)
            projection.base_layer.weight.data = weight
            projection.merge(adapter_names=[name])
    ```

    ## Good

    ```python
    class AttentionWithLora:
        def merge_all(self, name):
            projection = self.attention.out_proj
            projection.merge(adapter_names=[name])
    ```

    ## Fix safety

    No fix: leave out the sum or the call; which one is meant to keep the layer's own state is a choice.

    ## Limits

    Both must stand in one function and name the layer alike. Silent where the function changes the factors
    in between.

    ## References

    - PEFT `MultiheadAttention.merge`
    """

    code = "LS125"
    name = "merged-twice"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Calls that merge a layer behind a sum of its weight and its delta."""
        seen: set[object] = set()
        for found in merged_twice(ledger):
            if found.merge.node in seen:
                continue
            seen.add(found.merge.node)
            yield self.at(
                found.merge,
                f"`{found.layer}` is told to merge a delta that its weight has already",
                effect="2.00x too strong while it is merged",
                trace=[
                    (found.delta, "the delta of the layer is taken"),
                    (found.by_hand, "and written into its weight"),
                    (found.merge, "then the layer adds it once more"),
                ],
            )
