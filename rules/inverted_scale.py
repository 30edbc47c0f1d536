"""LS111: the scale is rank / alpha, upside down."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.inverted import inverted
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.powers import text_of
from lorascale_lint.ledger.swapped_names import swapped_names
from lorascale_lint.rule import Rule


class InvertedScale(Rule):
    """Scale computed as rank / alpha

    ## What it finds

    `rank / alpha` stored as a layer's scale, returned by the method that gives it, or multiplied onto a
    delta, or onto a factor that is kept, where the trained scale is `alpha / rank`.

    ## Why it is wrong

    The adapter was trained as `y = W x + (alpha / r) * B A x`. The inverse is right only for alpha = r;
    everywhere else it is wrong by the square of the scale.

    ## Effect

    4.00x too strong for alpha=64, rank=128; 4.00x too weak for alpha=32, rank=16.

    ## Bad

    ```python
    class LoRALinear:
        def __init__(self, base_layer, lora_A, lora_B, lora_rank, lora_alpha):
            self.base_layer = base_layer
            self.lora_A = lora_A
            self.lora_B = lora_B
            self.scaling = lora_rank / lora_alpha

        def forward(self, x):
            return self.base_layer(x) + self.scaling * (x @ self.lora_A.T @ self.lora_B.T)
    ```

    ## Good

    ```python
    class LoRALinear:
        def __init__(self, base_layer, lora_A, lora_B, lora_rank, lora_alpha):
            self.base_layer = base_layer
            self.lora_A = lora_A
            self.lora_B = lora_B
            self.scaling = lora_alpha / lora_rank

        def forward(self, x):
            return self.base_layer(x) + self.scaling * (x @ self.lora_A.T @ self.lora_B.T)
    ```

    ## Fix safety

    Safe: both quotients are 1 for alpha = rank. Adapters that were trained with the inverse need
    `alpha = rank ** 2 / alpha` in their files.

    ## Limits

    Silent where anything divides a delta by the value, and where a single factor is scaled that no product in
    sight uses: a new factor is divided by its new scale on purpose.

    ## References

    - Hu et al., LoRA, section 4.1: the update is scaled by alpha / r
    """

    code = "LS111"
    name = "inverted-scale"
    fix = "sometimes"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Quotients of a rank and an alpha that become a delta's scale."""
        for found in inverted(ledger):
            from lorascale_lint.codemods.swap_quotient import swap_quotient

            yield self.at(
                found.spot,
                f"scale `{found.spot.written}` in `{found.spot.name}` is rank / alpha, upside down",
                effect="4.00x too strong for alpha=64, rank=128",
                trace=[
                    (found.spot, f"`{text_of(found.rank)}` is the rank, `{text_of(found.alpha)}` is alpha"),
                    (found.used, found.text),
                ],
                fix=swap_quotient(ledger, found.spot),
            )
        for swapped in swapped_names(ledger):
            divided = swapped.divided.spot
            yield self.at(
                divided,
                f"`{divided.written}` divides a rank by an alpha: each has the other's name",
                confidence="medium",
                effect="rank / alpha instead of alpha / rank",
                trace=[
                    (swapped.bound.spot, f"`{swapped.bound.name}` is an alpha here"),
                    (divided, "and what is called alpha, a rank, is divided by it"),
                ],
            )
