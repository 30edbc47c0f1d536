"""LS405: DoRA's weight is divided by something else than the norm of itself."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.renormed import norm_lacks_scale, renormed, statistics_of_magnitudes
from lorascale_lint.rule import Rule


class DoraWrongNorm(Rule):
    """DoRA weight divided by something else than its norm

    ## What it finds

    A sum of base weight and delta that is brought to a learned magnitude (DoRA) and divided by a mean,
    a sum or another statistic of itself, by a norm of the base weight alone, or by that of a sum whose delta
    has no scale while the one beside it has alpha / rank.

    ## Why it is wrong

    The magnitude that was trained is the vector norm of each row (or column) of the adapted weight. A
    mean of signed weights is near zero and may be negative; the norm of the base weight leaves the
    delta's own length in the result.

    ## Effect

    Divided by a mean: wrong by orders of magnitude, signs included. Divided by the base norm:
    `norm(W + s * B @ A) / norm(W)` too strong for each row.

    ## Bad

    ```python
    import torch


    def merge_dora(org_weight, lora_delta, dora_scale):
        weight = org_weight + lora_delta
        return weight / weight.mean(dim=1, keepdim=True) * dora_scale
    ```

    ## Good

    ```python
    import torch


    def merge_dora(org_weight, lora_delta, dora_scale):
        weight = org_weight + lora_delta
        return weight / torch.linalg.vector_norm(weight, dim=1, keepdim=True) * dora_scale
    ```

    ## Fix safety

    Unsafe: a magnitude that was trained with the mean fits no norm. The norm is taken over the dimensions of
    the mean. No fix for the norm of the base weight alone.

    ## Limits

    Needs a magnitude by name (`dora_scale`, `magnitude`) and a visible sum of base and delta. Silent
    where the magnitude itself is made as the same statistic.

    ## References

    - LyCORIS b42a0787, `apply_dora_scale`
    - Liu et al., DoRA: Weight-Decomposed Low-Rank Adaptation, equation 5
    """

    code = "LS405"
    name = "dora-wrong-norm"
    fix = "sometimes"
    yields_to = ("LS101",)

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """One finding for each statistic that stands in the place of the norm."""
        seen: set[object] = set()
        learned = statistics_of_magnitudes(ledger)
        whole = {norm.spot.node for norm in ledger.norms if norm.of == "adapted"}
        for found in renormed(ledger):
            norm = found.norm
            if norm.spot.node in seen or norm.how in learned - {"norm"}:
                continue  # the magnitude was made as the same statistic: another design, and consistent
            if norm.how != "norm":
                what = f"the {norm.how} of the adapted weight"
            elif norm_lacks_scale(found):
                what = "the norm of a weight with the bare delta"
            elif norm.spot.node in whole:
                continue  # what some caller gives in the place of a delta is none
            elif norm.of == "base" and norm.spot.function is found.spot.function:
                what = "the norm of the base weight alone"
            else:
                continue
            seen.add(norm.spot.node)
            from lorascale_lint.codemods.take_norm import take_norm

            yield self.at(
                norm.spot,
                f"`{norm.spot.name}` divides by {what}, DoRA by its norm",
                trace=[
                    (found.summed, "the delta is added to the base weight"),
                    (norm.spot, f"{what} is taken here"),
                    (found.spot, "where the learned magnitude expects the norm"),
                ],
                fix=take_norm(ledger, norm.spot) if norm.how == "mean" else None,
            )
