"""LS245: a strength takes the place of the trained scale that a layer of the project keeps."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.replaced_scalings import replaced
from lorascale_lint.rule import Rule


class ScalingOverwritten(Rule):
    """Strength written over the trained scale of a layer

    ## What it finds

    A field by which a layer of the project multiplies its delta, which the constructor sets to alpha / rank,
    and which a setter or a walk over the model sets to a bare strength.

    ## Why it is wrong

    The field is the whole scale: nothing else multiplies. Whoever writes the strength there takes alpha /
    rank away, until the layer is made anew.

    ## Effect

    Scale 1 instead of alpha / rank at strength 1: 2.00x too strong for alpha=64, rank=128.

    ## Bad

    ```python
    class LoraLayer:
        def __init__(self, base, lora_A, lora_B, alpha, rank):
            self.base, self.lora_A, self.lora_B = base, lora_A, lora_B
            self.scaling = alpha / rank

        def forward(self, x):
            return self.base(x) + self.lora_B(self.lora_A(x)) * self.scaling

        def set_strength(self, strength):
            self.scaling = strength
    ```

    ## Good

    ```python
    class LoraLayer:
        def __init__(self, base, lora_A, lora_B, alpha, rank):
            self.base, self.lora_A, self.lora_B = base, lora_A, lora_B
            self.trained = alpha / rank
            self.scaling = self.trained

        def forward(self, x):
            return self.base(x) + self.lora_B(self.lora_A(x)) * self.scaling

        def set_strength(self, strength):
            self.scaling = strength * self.trained
    ```

    ## Fix safety

    No fix: keep alpha / rank in a field of its own, or compute it again, and multiply the strength by it.

    ## Limits

    A number that is only called a scale may hold the whole product, and is seen with `--preview` only. Silent
    where any caller gives a quotient, an alpha or a stored scaling, and for constants: 0 switches off. Of
    PEFT's layers LS502 tells.

    ## References

    - PEFT `LoraLayer.set_scale`: strength times alpha / r
    """

    code = "LS245"
    name = "scaling-overwritten"
    fix = "none"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Statements that store a strength where the trained scale was."""
        for found in replaced(ledger):
            yield self.at(
                found.spot,
                f"`{found.field}`, which holds alpha / rank, is overwritten with `{found.strength}`",
                confidence="high" if found.is_sure else "medium",
                effect=f"effective scale {found.strength} instead of alpha / rank * {found.strength}",
                trace=[
                    (found.used, f"the delta is multiplied by `{found.field}`, and by nothing else trained"),
                    (found.spot, f"`{found.strength}` has no part of alpha or the rank"),
                ],
            )
