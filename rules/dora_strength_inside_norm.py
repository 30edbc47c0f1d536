"""LS403: DoRA's user strength multiplies the delta before the norm, so it does not interpolate."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.knowledge.roles import STRENGTH
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.renormed import fixed_when_made, has_role, renormed, step_with
from lorascale_lint.rule import Rule


class DoraStrengthInsideNorm(Rule):
    """DoRA strength multiplied in before the weight is normalised

    ## What it finds

    A weight that is renormalised to a learned magnitude (DoRA), where the delta inside was multiplied
    by the strength that the person running the model chooses.

    ## Why it is wrong

    The magnitude is applied in full whatever the strength is. Strength 0 does not give the base model
    back but the base weight stretched to the trained magnitude, and strength 0.5 is not half way. The
    trained scale belongs inside the norm, the strength outside: `W + strength * (DoRA(W) - W)`.

    ## Effect

    Strength 0 leaves `m / norm(W)` of each row instead of 1; every strength but 1 is off by what the
    magnitude learned.

    ## Bad

    ```python
    class DoRALinear:
        def __init__(self, base_layer, lora_A, lora_B, lora_rank, lora_alpha, magnitude):
            self.base_layer = base_layer
            self.lora_A = lora_A
            self.lora_B = lora_B
            self.magnitude = magnitude
            self.scaling = lora_alpha / lora_rank

        def merged_weight(self, multiplier=1.0):
            weight = self.base_layer.weight + self.lora_B @ self.lora_A * self.scaling * multiplier
            return self.magnitude * weight / weight.norm(dim=1, keepdim=True)
    ```

    ## Good

    ```python
    class DoRALinear:
        def __init__(self, base_layer, lora_A, lora_B, lora_rank, lora_alpha, magnitude):
            self.base_layer = base_layer
            self.lora_A = lora_A
            self.lora_B = lora_B
            self.magnitude = magnitude
            self.scaling = lora_alpha / lora_rank

        def merged_weight(self, multiplier=1.0):
            base = self.base_layer.weight
            weight = base + self.lora_B @ self.lora_A * self.scaling
            decomposed = self.magnitude * weight / weight.norm(dim=1, keepdim=True)
            return base + multiplier * (decomposed - base)
    ```

    ## Fix safety

    No fix: the result of every strength but 1 changes, and how a magnitude is to be weakened is a choice.
    Take the norm at strength 1, and let the strength go from the base weight (0) to the merged one (1).

    ## Limits

    Sees a strength by its name (`multiplier`, `strength`). A strength folded into the stored scaling
    beforehand is not told from the trained scale.

    ## References

    - LyCORIS 01eed776, `apply_weight_decompose` of LoCon, LoHa and LoKr
    - ComfyUI ffc4b7c3, `weight_decompose`
    - Liu et al., DoRA: Weight-Decomposed Low-Rank Adaptation, equation 5
    """

    code = "LS403"
    name = "dora-strength-inside-norm"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """One finding for each sum of base and delta that is normalised with the strength in it."""
        seen: set[object] = set()
        for found in renormed(ledger):
            of = found.normed
            if of.summed is None or of.summed.node in seen or not has_role(of.scale, STRENGTH):
                continue
            seen.add(of.summed.node)
            step = step_with(of, STRENGTH)
            if step is not None and fixed_when_made(step, STRENGTH):
                continue
            yield self.at(
                of.summed,
                f"`{of.summed.name}` multiplies the strength onto a delta that DoRA normalises afterwards",
                effect="strength 0 does not give the base weight back, 0.5 is not half way",
                trace=[
                    *([(step.spot, "the strength is multiplied onto the delta")] if step is not None else []),
                    (of.summed, "the delta is added to the base weight"),
                    (found.norm.spot, "the norm is taken of the sum"),
                    (found.spot, "and the magnitude is applied in full, at any strength"),
                ],
            )
