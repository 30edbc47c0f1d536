"""LS110: the trained scale multiplies the base output together with the delta."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.immutable import replace
from lorascale_lint.ledger.deltas import delta_of
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.powers import text_of
from lorascale_lint.ledger.scaled_sums import scaled_sums
from lorascale_lint.rule import Rule


class ScaledBase(Rule):
    """Trained scale multiplied onto base and delta together

    ## What it finds

    `(base(x) + delta) * scale` where the scale is alpha / rank: parentheses that close too late, so
    that the frozen layer's own output or weight is scaled with the delta. A stored scale counts if its name
    is an adapter's (`lora_scaling`), or if another method of the class multiplies the delta alone by it.

    ## Why it is wrong

    The adapter's output is `W x + (alpha / r) * B A x`. Here it is `(alpha / r) * (W x + B A x)`: the base
    model changes even while B is still zero, and strength 0 switches the layer off.

    ## Effect

    Base output at 0.50 of its strength for alpha=64, rank=128.

    ## Bad

    ```python
    class LoRALinear:
        def __init__(self, base_layer, lora_A, lora_B, lora_rank, lora_alpha):
            self.base_layer = base_layer
            self.lora_A = lora_A
            self.lora_B = lora_B
            self.scale = lora_alpha / lora_rank

        def forward(self, x):
            return (self.base_layer(x) + x @ self.lora_A.T @ self.lora_B.T) * self.scale
    ```

    ## Good

    ```python
    class LoRALinear:
        def __init__(self, base_layer, lora_A, lora_B, lora_rank, lora_alpha):
            self.base_layer = base_layer
            self.lora_A = lora_A
            self.lora_B = lora_B
            self.scale = lora_alpha / lora_rank

        def forward(self, x):
            return self.base_layer(x) + x @ self.lora_A.T @ self.lora_B.T * self.scale
    ```

    ## Fix safety

    Safe where the trained scale alone is moved, which is 1 for alpha = rank; unsafe where a strength goes
    with it. No fix where dropout or other steps stand around the sum: only a person knows which of them
    the base output should go through.

    ## Limits

    Only a scale computed from alpha counts (attention's own `scaling` does not), and only a base that
    is recognised as one: a base layer, its weight, `super().forward`.

    ## References

    - LyCORIS, `LoConModule.forward` with Tucker decomposition, repaired in e086201
    """

    code = "LS110"
    name = "scaled-base"
    fix = "sometimes"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Applications whose sum is multiplied by alpha / rank."""
        for found in scaled_sums(ledger):
            step, applied = found.step, found.application.spot
            delta = delta_of(found.application)
            where = applied if delta is None else replace(applied, node=delta)
            from lorascale_lint.codemods.scale_delta_alone import scale_delta_alone

            yield self.at(
                step.spot,
                f"trained scale multiplies the base output too in `{step.spot.name}`",
                effect="base output at 0.50 of its strength for alpha=64, rank=128",
                trace=[
                    (applied, f"`{applied.written}` is the sum of base and delta"),
                    (where, "this is the delta in it"),
                    (step.spot, f"`{text_of(step)}` multiplies the sum of both"),
                ],
                fix=scale_delta_alone(ledger, found),
            )
