"""LS243: a kept factor is scaled in place each time it is applied."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.kept_factors import rescaled_in_place
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.rule import Rule


class KeptFactorRescaled(Rule):
    """Kept factor scaled in place each time it is applied

    ## What it finds

    A method that takes a factor out of a table of its object, multiplies a scale onto it in place
    (`up *= scale`, `up.mul_(scale)`), and applies the product.

    ## Why it is wrong

    The table holds the same tensor. The next call finds a factor that is scaled already, and scales it again.

    ## Effect

    scale, scale^2, scale^3 ... from call to call; nobody sees it at alpha = rank and strength 1.

    ## Bad

    ```python
    class LoraBank:
        def __init__(self, lora_up, lora_down, alphas):
            self.lora_up, self.lora_down, self.alphas = lora_up, lora_down, alphas

        def apply(self, weights, strength):
            for name, alpha in self.alphas.items():
                up, down = self.lora_up[name], self.lora_down[name]
                up *= strength * alpha / down.shape[0]
                weights[name] += up @ down
    ```

    ## Good

    ```python
    class LoraBank:
        def __init__(self, lora_up, lora_down, alphas):
            self.lora_up, self.lora_down, self.alphas = lora_up, lora_down, alphas

        def apply(self, weights, strength):
            for name, alpha in self.alphas.items():
                up, down = self.lora_up[name], self.lora_down[name]
                up = up * (strength * alpha / down.shape[0])
                weights[name] += up @ down
    ```

    ## Fix safety

    No fix: multiply the product, or a copy of the factor; a fold that is meant to stay belongs where the
    factors are put into the table, once.

    ## Limits

    Silent for factors of an argument or of a file that the function opens, and after a copy of any kind.

    ## References

    - unslothai/unsloth-zoo issue 942: the scale compounded at each step
    """

    code = "LS243"
    name = "kept-factor-rescaled"
    fix = "none"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Factors that the next call finds scaled already."""
        for found in rescaled_in_place(ledger):
            yield self.at(
                found.step.spot,
                f"`{found.factor}` is kept, and scaled in place whenever `{found.used.spot.name}` applies it",
                confidence="medium",
                effect="the scale of this call times those of all calls before",
                trace=[
                    (found.step.spot, "this changes the tensor that the table keeps"),
                    (found.used.spot, "and here the product is applied; the next call scales it again"),
                ],
            )
