"""LS102: a delta is added in forward without the trained scale."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.effect import effect_of
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.unscaled import unscaled
from lorascale_lint.rule import Rule


class UnscaledForward(Rule):
    """Delta added to the output without the trained scale

    ## What it finds

    `base(x) + lora_B(lora_A(x))` in a class that keeps an alpha, or leaves it unread in a PEFT
    configuration that it loads beside the factors or in the configuration that gives it the rank, where
    no multiplication by alpha / rank reaches the sum.

    ## Why it is wrong

    The trained output is `W x + (alpha / r) * B A x`. Without the factor the unmerged adapter runs at
    `r / alpha` of its strength, and differs from the same adapter merged with it.

    ## Effect

    2.00x too strong for alpha=64, rank=128.

    ## Bad

    ```python
    class LoRALinear:
        def __init__(self, base_layer, lora_A, lora_B, lora_rank, lora_alpha):
            self.base_layer = base_layer
            self.lora_A = lora_A
            self.lora_B = lora_B
            self.lora_rank = lora_rank
            self.lora_alpha = lora_alpha

        def forward(self, x):
            return self.base_layer(x) + x @ self.lora_A.T @ self.lora_B.T

        def merge(self):
            self.base_layer.weight.data += self.lora_alpha / self.lora_rank * (self.lora_B @ self.lora_A)
    ```

    ## Good

    ```python
    class LoRALinear:
        def __init__(self, base_layer, lora_A, lora_B, lora_rank, lora_alpha):
            self.base_layer = base_layer
            self.lora_A = lora_A
            self.lora_B = lora_B
            self.lora_rank = lora_rank
            self.lora_alpha = lora_alpha

        @property
        def lora_scale(self):
            \"\"\"Trained scale of the adapter: alpha / rank, 1.0 without an alpha.\"\"\"
            if self.lora_alpha is None or self.lora_rank is None:
                return 1.0
            return self.lora_alpha / self.lora_rank

        def forward(self, x):
            return self.base_layer(x) + self.lora_scale * (x @ self.lora_A.T @ self.lora_B.T)

        def merge(self):
            self.base_layer.weight.data += self.lora_alpha / self.lora_rank * (self.lora_B @ self.lora_A)
    ```

    ## Fix safety

    Safe: for alpha = rank the new factor is 1.

    ## Limits

    Silent where a factor may have been scaled beforehand, and where the class keeps no alpha and
    has no configuration with one.

    ## References

    - Hu et al., LoRA, section 4.1
    - adapters pull request 770: forward scaled only when gated
    """

    code = "LS102"
    name = "unscaled-forward"
    fix = "sometimes"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Forward applications whose whole scale is known and holds no trained scale."""
        for found in unscaled(ledger):
            application = found.application
            if application.kind == "forward":
                from lorascale_lint.codemods.scale_delta import scale_delta

                yield self.at(
                    application.spot,
                    f"delta added without the trained scale in `{application.spot.name}`",
                    effect=effect_of(application.branches[0].scale),
                    trace=found.trace,
                    fix=scale_delta(ledger, found.family, application),
                )
