"""LS405: DoRA's weight is divided by something else than the norm of itself."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.codemods.take_norm import take_norm
from lorascale_lint.findings import Finding
from lorascale_lint.model import Model
from lorascale_lint.model.decompositions import decompositions
from lorascale_lint.model.magnitudes import magnitude_statistics
from lorascale_lint.model.weight_norm import Decomposed, Place
from lorascale_lint.rule import Rule


class DoraWrongNorm(Rule):
    """DoRA weight divided by something else than its norm

    ## What it finds

    A sum of base weight and delta that is brought to a learned magnitude (DoRA) and divided by a mean,
    a sum or another statistic of itself, or by a norm of the base weight alone.

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

    def check(self, model: Model) -> Iterator[Finding]:
        """One finding for each statistic that stands in the place of the norm."""
        reported: set[Place] = set()
        learned = magnitude_statistics(model)
        for found in decompositions(model):
            form = found.form
            norm = form.norm
            if norm.place in reported or not (norm.of.base or norm.of.delta):
                continue
            mix = form.mix if isinstance(form, Decomposed) else norm.of
            if not (mix.base and mix.delta):
                continue
            if norm.how in learned:
                continue  # the magnitude was made as the same statistic: another design, and consistent
            if norm.how != "norm":
                what = f"the {norm.how} of the adapted weight"
            elif norm.of.base and not norm.of.delta and norm.place.function is found.function:
                what = "the norm of the base weight alone"
            else:
                continue
            reported.add(norm.place)
            summed = mix.summed or Place(found.function, found.loc)
            yield self.finding(
                model,
                norm.place.function.filename,
                norm.place.loc,
                f"`{norm.place.function.facts.qualname}` divides by {what}, DoRA by its norm",
                trace=(
                    (summed.function.filename, summed.loc, "the delta is added to the base weight"),
                    (norm.place.function.filename, norm.place.loc, f"{what} is taken here"),
                    (found.function.filename, found.loc, "where the learned magnitude expects the norm"),
                ),
                fix=take_norm(model, norm.place.function.filename, norm.place.loc)
                if norm.how == "mean"
                else None,
            )
