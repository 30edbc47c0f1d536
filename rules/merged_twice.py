"""LS125: a delta is written into a layer's weight twice: by hand and by the layer, or at each call."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.added_after_merge import added_after_merge, merged_again, still_added
from lorascale_lint.ledger.added_twice import added_twice
from lorascale_lint.ledger.attached_again import attached_again
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.merged_each_call import merged_each_call
from lorascale_lint.ledger.merged_twice import merged_twice
from lorascale_lint.rule import Rule


class MergedTwice(Rule):
    """Delta written into a weight that has it already

    ## What it finds

    A function that takes the delta of a layer, writes weight and delta into the layer's weight, and then
    tells the same layer to merge; and one that adds the products of the factors of a model's modules to their
    weights, and then tells the model to merge. And a `forward` that puts the sum of the layer's weight and
    its delta back into the weight: the second call adds the delta to the sum of the first. And a `forward`
    that adds the delta in any case, beside a merge that puts it into the weight and notes that in a flag
    which nothing reads; or beside one that leaves the layer, its factors and its fields as they are, where
    the model is run behind it, and with `--preview` wherever it is. And code that adds the delta to what a
    property or getter of the layer gives, which has added it already. And PEFT's adapter that is merged into
    a model, and loaded from the same place on top of the merged one.

    ## Why it is wrong

    The layer adds the same delta to a weight that has it. A round trip of merge and unmerge that is
    written alike hides it: what is wrong is every output in between.

    ## Effect

    2.00x too strong while it is merged; in a `forward` that keeps the sum, once more at each call.

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
    in between; in a `forward`, where it sets the weight again, calls what may put it back, or asks for a
    flag before; beside a merge, where that changes the factors or gives back a layer, or where other code
    puts something into the place of such layers or keeps the weights alone.

    ## References

    - PEFT `MultiheadAttention.merge`
    """

    code = "LS125"
    name = "merged-twice"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Calls that merge a layer whose weight has its delta already, and forwards that keep the sum."""
        seen: set[object] = set()
        for found in (*merged_twice(ledger), *attached_again(ledger)):
            if found.merge.node in seen:
                continue
            seen.add(found.merge.node)
            yield self.at(
                found.merge,
                f"`{found.layer}` {found.again}",
                effect="2.00x too strong while it is merged",
                trace=[
                    (found.delta, "the delta is taken"),
                    (found.by_hand, "and written into the weight"),
                    (found.merge, "then it is added once more"),
                ],
            )
        for apply in merged_each_call(ledger):
            if apply.spot.node not in seen:
                seen.add(apply.spot.node)
                yield self.at(
                    apply.spot,
                    f"`{apply.spot.name}` leaves the delta in the weight and adds it again at each call",
                    effect="2.00x too strong at the second call, 3.00x at the third",
                    trace=[(apply.spot, "the sum is kept, and nothing here takes the delta out")],
                )
        for twice in added_twice(ledger):
            first, again = twice.first.spot, twice.again.spot
            yield self.at(
                again,
                f"`{first.name}` gives the weight with its delta, and `{again.name}` adds it again",
                effect="2.00x too strong",
                trace=[
                    (first, "what is read has the delta of these factors"),
                    (again, "here it is added once more"),
                ],
            )
        for added in (*added_after_merge(ledger), *still_added(ledger)):
            merge, flag, forward = added.merge.spot, added.flag, added.forward.spot
            told = [] if flag is None else [(flag.spot, f"`{flag.field}` says so, and nothing reads it")]
            if added.run is not None:
                told += zip(added.run, ("a model is merged here", "and run here"), strict=True)
            sure = flag is not None or added.run is not None
            yield self.at(
                forward if flag is not None else merge,
                f"`{forward.name}` adds the delta though `{merge.name}` may have put it into the weight",
                confidence="high" if sure else "medium",
                effect="2.00x too strong once it is merged",
                trace=[
                    (merge, "the delta is added to the weight"),
                    *told,
                    (forward, "here it is added to what the weight gives, in any case"),
                ],
            )
        for each in merged_again(ledger):
            yield self.at(
                each.merge.spot,
                f"`{each.merge.spot.name}` adds the delta at each call, also to a weight that has it",
                effect="2.00x too strong after the second call",
                trace=[
                    (each.merge.spot, f"the delta is added, and nothing asks for `{each.flag}`"),
                    (each.unmerge.spot, f"while it is taken out only if `{each.flag}` is set"),
                ],
            )
