"""LS124: the user's strength is multiplied on where a condition holds, and not where it does not."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.one_sided_strengths import left_on_branches, one_sided_strengths
from lorascale_lint.ledger.powers import text_of
from lorascale_lint.ledger.unweighted_differences import unweighted_differences
from lorascale_lint.rule import Rule


class StrengthOnOneBranch(Rule):
    """Strength on one branch only

    ## What it finds

    A function that multiplies the delta by the trained scale and the strength where a condition holds
    (alpha is known, the layer is of one kind), and applies the same delta without the strength where it
    does not hold. Two calls that apply an adapter on the branches of one test, of which one is given the
    strength, while nothing else is. A raw difference (`.diff`, `.diff_b`, `.w_norm`) that is added as it is,
    beside factors of the same adapter whose delta has the strength.

    ## Why it is wrong

    The delta is to have degree one in the strength on every path. A file without alpha, or a layer of
    another kind, gets the full delta whatever strength is asked for.

    ## Effect

    2.00x too strong for strength=0.5 on that branch; strength 0 does not switch the adapter off there.

    ## Bad

    ```python
    def merge_pair(base_layer, lora_down, lora_up, lora_rank, lora_alpha=None, lora_strength=1.0):
        delta = lora_up @ lora_down
        if lora_alpha is not None:
            delta = delta * (lora_strength * lora_alpha / lora_rank)
        base_layer.weight.data += delta
    ```

    ## Good

    ```python
    def merge_pair(base_layer, lora_down, lora_up, lora_rank, lora_alpha=None, lora_strength=1.0):
        delta = (lora_up @ lora_down) * lora_strength
        if lora_alpha is not None:
            delta = delta * (lora_alpha / lora_rank)
        base_layer.weight.data += delta
    ```

    ## Fix safety

    No fix: the strength may belong before the condition or on the branch. Multiply the delta by it where
    both branches pass.

    ## Limits

    Silent where the condition speaks of the strength, of merging or of a format, or is a flag that the
    caller gives, and where some scale of the function is not known.

    ## References

    - siliconflow/onediff `fuse_lora`: the scale was folded in only if alpha was given
    """

    code = "LS124"
    name = "strength-on-one-branch"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Deltas without the strength that another branch of the function multiplies on."""
        for found in one_sided_strengths(ledger):
            where = f"`{found.asked}`" if found.holds else f"not `{found.asked}`"
            yield self.at(
                found.step.spot,
                f"`{found.function.qualname}` applies `{found.name}` on one branch only: not where {where}",
                effect="2.00x too strong for strength=0.5",
                trace=[
                    (found.step.spot, f"`{text_of(found.step)}` is multiplied on here"),
                    (found.weak.spot, f"where {where}, the delta is applied at {found.weak.scale.formula()}"),
                ],
            )
        for bare in unweighted_differences(ledger):
            yield self.at(
                bare.spot,
                f"the difference is added without `{bare.name}`, which the delta of the factors has",
                effect="2.00x too strong for strength=0.5",
                trace=[
                    (bare.step.spot, f"`{text_of(bare.step)}` multiplies the delta of the factors"),
                    (bare.spot, "the raw difference of the same adapter is added as it is"),
                ],
            )
        for left in left_on_branches(ledger):
            yield self.at(
                left.left.spot,
                f"the adapter is applied here without `{left.name}`, which the other branch gives",
                effect="2.00x too strong for strength=0.5",
                trace=[
                    (left.told.spot, f"`{left.name}` is given here"),
                    (left.left.spot, "where the condition is otherwise, nothing gets it"),
                ],
            )
