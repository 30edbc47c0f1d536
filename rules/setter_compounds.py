"""LS222: a setter multiplies what is stored already, so that setting twice is not setting once."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.compounding import compounding
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.rule import Rule


class SetterCompounds(Rule):
    """A setter that multiplies the scale that is stored

    ## What it finds

    A method whose name says that it sets something, or a hook that is called for each step, and that
    multiplies the layer's stored scale by a number and stores the product in the place of the scale; also an
    entry of the `scaling` of PEFT's layers, and the scaling of layers that a function finds in a model.

    ## Why it is wrong

    Setting 0.5 twice gives 0.25, and setting 1 does not bring the adapter back: setting is to replace what
    was set before. What multiplies is called `scale_layer`, and has something that undoes it.

    ## Effect

    2.00x too weak when 0.5 is set a second time; 0 for ever after a strength of 0.

    ## Bad

    ```python
    class LoraModule:
        def __init__(self, lora_down, lora_up, alpha, rank):
            self.lora_down = lora_down
            self.lora_up = lora_up
            self.scaling = alpha / rank

        def forward(self, x):
            return self.lora_up(self.lora_down(x)) * self.scaling

        def set_strength(self, strength):
            self.scaling = self.scaling * strength
    ```

    ## Good

    ```python
    class LoraModule:
        def __init__(self, lora_down, lora_up, alpha, rank):
            self.lora_down = lora_down
            self.lora_up = lora_up
            self.trained_scale = alpha / rank
            self.scaling = self.trained_scale

        def forward(self, x):
            return self.lora_up(self.lora_down(x)) * self.scaling

        def set_strength(self, strength):
            self.scaling = self.trained_scale * strength
    ```

    ## Fix safety

    No fix: the trained scale has to be kept in a field of its own, and what else changes it is not known.

    ## Limits

    Silent where the method puts the stored scale back first, and where its name does not say that it sets.

    ## References

    - PEFT's `LoraLayer.set_scale` replaces the strength, `scale_layer` multiplies and has an `unscale_layer`
    """

    code = "LS222"
    name = "setter-compounds"
    fix = "none"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Stores of a field's own number times an argument, in a setter."""
        for found in compounding(ledger):
            by = f"`{found.by}`" if found.by else "a number"
            yield self.at(
                found.spot,
                f"`{found.spot.name}` multiplies the stored `{found.field}` instead of setting it",
                confidence=found.confidence,
                effect="2.00x too weak when strength 0.5 is set a second time",
                trace=[(found.spot, f"{by} is multiplied onto what was stored before")],
            )
