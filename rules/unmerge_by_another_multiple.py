"""LS221: an unmerge takes another multiple of the stored factors away than the merge added."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.kept_multiples import other_multiples
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.set_while_merged import set_while_merged
from lorascale_lint.ledger.undone_by_default import left_at_default
from lorascale_lint.rule import Rule


class UnmergeByAnotherMultiple(Rule):
    """Unmerge by a stored multiple that is not the one of the merge

    ## What it finds

    A delta of stored factors that is subtracted times a number kept for each adapter, where a function
    writes another number there than it multiplies the same factors by when it adds them. Also an unmerge by a
    field of the layer that another method sets, whether the delta is in the weight or not, and one that is
    not given the number which the merge beside it was given.

    ## Why it is wrong

    An unmerge undoes a merge only if it takes away what was added. The difference of the two multiples stays
    in the weight, and grows with every change of the strength.

    ## Effect

    A residue of (1 / scaling - 1) times the delta after each change, where the merge divides by a scaling.

    ## Bad

    ```python
    def reweight(layer, name, weight):
        unfuse_lora(layer)
        layer.active[name] = weight
        times = weight / layer.scaling[name]
        layer.weight.data += times * (layer.lora_B[name] @ layer.lora_A[name])


    def unfuse_lora(layer):
        for name, weight in list(layer.active.items()):
            layer.weight.data -= weight * (layer.lora_B[name] @ layer.lora_A[name])
            layer.active.pop(name)
    ```

    ## Good

    ```python
    def reweight(layer, name, weight):
        unfuse_lora(layer)
        times = weight / layer.scaling[name]
        layer.active[name] = times
        layer.weight.data += times * (layer.lora_B[name] @ layer.lora_A[name])


    def unfuse_lora(layer):
        for name, times in list(layer.active.items()):
            layer.weight.data -= times * (layer.lora_B[name] @ layer.lora_A[name])
            layer.active.pop(name)
    ```

    ## Fix safety

    No fix: keep the number that multiplies the delta, or multiply by the number that is kept. A setter of a
    layer that may be merged takes the delta out first, or the merge keeps its own copy for the unmerge.

    ## Limits

    Both functions stand in one file and name the factors and the kept number by the same path.

    ## References

    - siliconflow/onediff#926
    """

    code = "LS221"
    name = "unmerge-by-another-multiple"
    fix = "none"
    yields_to = ("LS109",)

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Merges whose multiple is not the number that the function keeps for the unmerge."""
        for found in set_while_merged(ledger):
            setter, taken = found.store.spot, found.unmerge.spot
            yield self.at(
                taken,
                f"`{taken.name}` takes the delta back at the `{found.field}` of now, which `{setter.name}` "
                "may have set since the merge",
                confidence="medium",
                effect="the difference of both multiples of the delta stays in the weight",
                trace=[
                    (found.merge.spot, f"the merge multiplies by `{found.field}`"),
                    (setter, "this sets it, whether the delta is merged or not"),
                    (taken, "and what it is now is taken away"),
                ],
            )
        for left in left_at_default(ledger):
            yield self.at(
                left.undone.spot,
                f"`{left.undone.called}` takes the delta back at {left.default:g}, its default, and "
                f"`{left.done.called}` added it at `{left.told}`",
                effect="the difference of both multiples of the delta stays in the weight",
                trace=[
                    (left.done.spot, f"`{left.parameter}` is given here"),
                    (left.merge.spot, "and multiplies what is added"),
                    (left.undone.spot, "here it is left out"),
                ],
            )
        for other in other_multiples(ledger):
            yield self.at(
                other.merge.spot,
                f"`{other.merge.spot.name}` adds another multiple of the delta than "
                f"`{other.unmerge.spot.name}` takes away: `{other.kept_in}` keeps another number",
                trace=[
                    (other.write.spot, "this number is kept"),
                    (other.unmerge.spot, "it multiplies what is taken away"),
                ],
            )
