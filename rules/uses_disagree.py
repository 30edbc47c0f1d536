"""LS128: two uses of the same factors have trained scales of different formulas."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.disagreements import disagreements
from lorascale_lint.ledger.effect import effect_of
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.rule import Rule


class UsesDisagree(Rule):
    """Merge and forward with different formulas of the trained scale

    ## What it finds

    A class whose forward has alpha / sqrt(rank) and whose merge has alpha / rank, or one of them twice the
    other; the same of functions of one file that read alpha and rank from the same settings.

    ## Why it is wrong

    The factors are trained through the forward. A merge at another scale is another adapter.

    ## Effect

    sqrt(rank), for a merge that forgets the root: 8x too weak for rank 64.

    ## Bad

    ```python
    import math


    class LoRALinear:
        def __init__(self, base, lora_A, lora_B, lora_alpha, r):
            self.base, self.lora_A, self.lora_B = base, lora_A, lora_B
            self.lora_alpha, self.r = lora_alpha, r

        def forward(self, x):
            return self.base(x) + x @ self.lora_A.T @ self.lora_B.T * (self.lora_alpha / math.sqrt(self.r))

        def merge(self):
            self.base.weight += self.lora_B @ self.lora_A * (self.lora_alpha / self.r)
    ```

    ## Good

    ```python
    import math


    class LoRALinear:
        def __init__(self, base, lora_A, lora_B, lora_alpha, r):
            self.base, self.lora_A, self.lora_B = base, lora_A, lora_B
            self.scaling = lora_alpha / math.sqrt(r)

        def forward(self, x):
            return self.base(x) + x @ self.lora_A.T @ self.lora_B.T * self.scaling

        def merge(self):
            self.base.weight += self.lora_B @ self.lora_A * self.scaling
    ```

    ## Fix safety

    No fix: which of the two the adapters were trained with is for whoever trained them.

    ## Limits

    Both scales must be known, trained ones, and without a condition. Of a class only the methods count that
    its objects have. Functions outside of classes are compared where alpha and rank are parts of the same
    settings, a forward with a merge, and only if neither is called after rsLoRA.

    ## References

    - kalajdzievski 2023, "A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA", arXiv:2312.03732
    """

    code = "LS128"
    name = "uses-disagree"
    fix = "none"
    yields_to = ("LS106", "LS107", "LS111", "LS118", "LS121", "LS223", "LS401")

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """One finding for each use, at the one that is no forward."""
        for found in disagreements(ledger):
            use, other = found.use, found.other
            yield self.at(
                use.spot,
                f"effective scale {use.formula} in `{use.spot.name}`, and {other.formula} in "
                f"`{other.spot.name}` for the same factors",
                effect=effect_of(use.branches[0].scale, other.branches[0].scale),
                trace=[(other.spot, f"here the scale is {other.formula}")],
            )
