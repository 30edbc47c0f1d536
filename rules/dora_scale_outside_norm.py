"""LS404: the trained scale of a DoRA delta stands outside the norm."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.knowledge.roles import ALPHA, RANK
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.renormed import has_role, scaled_changes
from lorascale_lint.rule import Rule


class DoraScaleOutsideNorm(Rule):
    """DoRA's trained scale applied to the normalised difference

    ## What it finds

    A weight that is renormalised to a learned magnitude (DoRA), whose difference from the base weight
    is then multiplied by alpha / rank.

    ## Why it is wrong

    Training computed `m * (W + s * B @ A) / norm(W + s * B @ A)`: the trained scale s turns the
    direction, and the magnitude sets the length. Outside, it multiplies a difference that holds the
    change of magnitude as well, and the direction inside is turned by an unscaled delta.

    ## Effect

    Depends on the shapes; right only for alpha = rank. For alpha = rank / 2 half of the learned change of
    magnitude is lost, and the delta turns each row up to twice as far.

    ## Bad

    ```python
    def merge_dora(org_weight, lora_up, lora_down, dora_scale, alpha, strength):
        weight = org_weight + lora_up @ lora_down
        norm = weight.norm(dim=1, keepdim=True)
        difference = dora_scale * weight / norm - org_weight
        return org_weight + difference * (alpha / lora_down.shape[0]) * strength
    ```

    ## Good

    ```python
    def merge_dora(org_weight, lora_up, lora_down, dora_scale, alpha, strength):
        weight = org_weight + lora_up @ lora_down * (alpha / lora_down.shape[0])
        norm = weight.norm(dim=1, keepdim=True)
        difference = dora_scale * weight / norm - org_weight
        return org_weight + difference * strength
    ```

    ## Fix safety

    No fix: adapters with alpha other than the rank give other results, and those that were trained so are
    right here alone. Multiply the delta by the scale before it is added, and take the norm of that sum.

    ## Limits

    The norm, the difference and the scale must be visible in the files given. A number that is called a scale
    and is not seen to be made of alpha or the rank may be a strength: `--preview`.

    ## References

    - AUTOMATIC1111/stable-diffusion-webui pull request 16151
    - Liu et al., DoRA: Weight-Decomposed Low-Rank Adaptation, equation 5
    """

    code = "LS404"
    name = "dora-scale-outside-norm"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """One finding for each multiplication of a renormalised difference by the trained scale."""
        seen: set[object] = set()
        for step, norm in scaled_changes(ledger):
            if step.spot.node in seen or step.spot.file.is_test:
                continue
            seen.add(step.spot.node)
            yield self.at(
                step.spot,
                f"`{step.spot.name}` multiplies the trained scale onto what DoRA has normalised already",
                confidence="high" if has_role(step.scale, ALPHA, RANK) else "medium",
                effect="right only for alpha = rank",
                trace=[
                    (norm.spot, "the norm of base and delta is taken here"),
                    (
                        step.spot,
                        "the trained scale multiplies the change of direction and magnitude together",
                    ),
                ],
            )
