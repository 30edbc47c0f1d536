"""LS101: a delta is merged into a weight without the trained scale."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.effect import effect_of
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.unscaled import unscaled
from lorascale_lint.rule import Rule


class UnscaledMerge(Rule):
    """Delta merged into a weight without the trained scale

    ## What it finds

    `weight += B @ A` (also as `addmm_`, `torch.mm`, a helper's result ...) in a class that keeps an
    alpha, or loads the PEFT configuration beside the factors and leaves its alpha unread, where neither
    the sum nor anything on the factors' way multiplies by alpha / rank.
    Every branch and every merging method is a finding of its own.

    ## Why it is wrong

    The adapter was trained as `y = W x + (alpha / r) * B A x`. Merging `W + B A` applies it at
    `r / alpha` of its strength. Nothing crashes; alpha = r hides it.

    ## Effect

    2.00x too strong for alpha=64, rank=128 (LongCat's distilled LoRA in FastVideo).

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
            delta = x @ self.lora_A.T @ self.lora_B.T
            return self.base_layer(x) + delta * (self.lora_alpha / self.lora_rank)

        def merge(self):
            self.base_layer.weight.data += self.lora_B @ self.lora_A
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
            delta = x @ self.lora_A.T @ self.lora_B.T
            return self.base_layer(x) + delta * (self.lora_alpha / self.lora_rank)

        def merge(self):
            self.base_layer.weight.data += self.lora_scale * (self.lora_B @ self.lora_A)
    ```

    ## Fix safety

    Safe: for alpha = rank the new factor is 1. The fix uses the scale that the class already has,
    or adds one property computed from alpha and rank.

    ## Limits

    Silent where the scale may come from code that is not seen: a folded factor, an unknown
    multiplier, a class that keeps no alpha and loads none. Dictionary-of-tensors merges are LS301's.

    ## References

    - Hu et al., LoRA, section 4.1: the update is scaled by alpha / r
    - FastVideo pull request 870: the merge gets the factor
    """

    code = "LS101"
    name = "unscaled-merge"
    fix = "sometimes"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Merges and unmerges whose whole scale is known and holds no trained scale."""
        for found in unscaled(ledger):
            application = found.application
            if application.kind == "forward":
                continue
            from lorascale_lint.codemods.scale_delta import scale_delta

            yield self.at(
                application.spot,
                f"delta {application.kind}d without the trained scale in `{application.spot.name}`",
                effect=effect_of(application.branches[0].scale),
                trace=found.trace,
                fix=scale_delta(ledger, found.family, application),
            )
