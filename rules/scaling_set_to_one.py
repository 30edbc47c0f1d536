"""LS228: a method sets the layer's trained scale to 1 and leaves the factors as they are."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.effect import effect_of
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.reset_scales import reset_scales
from lorascale_lint.provenance.scale import ONE
from lorascale_lint.rule import Rule


class ScalingSetToOne(Rule):
    """Trained scale replaced by 1

    ## What it finds

    A field that the constructor fills with alpha / rank, and that another method (enable, reset, unscale)
    sets to 1, while the factors stay as they were trained.

    ## Why it is wrong

    1 is no neutral value of that field: it holds the trained scale. All writers of one stored scale have to
    use one formula, or put back what was there.

    ## Effect

    Effective scale 1 instead of alpha / rank from then on: 2.00x too strong for alpha=64, rank=128.

    ## Bad

    ```python
    class LoraLinear:
        def __init__(self, base, lora_A, lora_B, alpha, rank):
            self.base = base
            self.lora_A = lora_A
            self.lora_B = lora_B
            self.scaling = alpha / rank

        def forward(self, x):
            return self.base(x) + self.lora_B(self.lora_A(x)) * self.scaling

        def disable(self):
            self.scaling = 0.0

        def enable(self):
            self.scaling = 1.0
    ```

    ## Good

    ```python
    class LoraLinear:
        def __init__(self, base, lora_A, lora_B, alpha, rank):
            self.base = base
            self.lora_A = lora_A
            self.lora_B = lora_B
            self.trained = alpha / rank
            self.scaling = self.trained

        def forward(self, x):
            return self.base(x) + self.lora_B(self.lora_A(x)) * self.scaling

        def disable(self):
            self.scaling = 0.0

        def enable(self):
            self.scaling = self.trained
    ```

    ## Fix safety

    No fix: which field keeps the trained scale is for the class to say. Keep it beside the one that is
    switched, or switch by a flag of its own.

    ## Limits

    Silent where the method folds the scale into the factors, sets them anew, or puts the scale back.

    ## References

    - PEFT's `LoraLayer.unscale_layer(None)` recomputes alpha / r, and does not set 1
    """

    code = "LS228"
    name = "scaling-set-to-one"
    fix = "none"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Every method that sets a trained scale to 1; under a condition with medium confidence."""
        for found in reset_scales(ledger):
            spot = found.reset.spot
            yield self.at(
                spot,
                f"`{spot.name}` sets `{found.field.name}` to 1, and the constructor to the trained scale",
                confidence="medium" if found.reset.conditions else "high",
                effect=effect_of(ONE),
                trace=[
                    (found.made.spot, "here the field holds alpha / rank"),
                    (spot, "and from here on 1, with the same factors"),
                ],
            )
