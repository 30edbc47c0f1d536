"""LS103: an activation is multiplied with a weight-space delta that is not transposed."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.applications import Application
from lorascale_lint.ledger.deltas import crossed_products
from lorascale_lint.ledger.entries import Product
from lorascale_lint.ledger.families import families, of_one_object
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.rule import Rule
from lorascale_lint.sources.loc import Loc


class UntransposedDelta(Rule):
    """Activation multiplied with a delta in weight layout

    ## What it finds

    `x @ (B @ A)` in a class that merges the same `B @ A` into the weight: the product is out x in,
    as the weight is, while `x @ ...` needs in x out.

    ## Why it is wrong

    The layer computes `x @ W.T`, so the delta's part is `x @ (B @ A).T = x @ A.T @ B.T`. Without the
    transpose a rectangular layer fails, and a square one silently computes something else.

    ## Effect

    Not a matter of scale: the adapter's output is unrelated to the trained one (measured on FastVideo
    0.1.6 for a square layer: scale -0.02 with a residual of 22).

    ## Bad

    ```python
    class LoRALinear:
        def __init__(self, base_layer, lora_A, lora_B, lora_scaling):
            self.base_layer = base_layer
            self.lora_A = lora_A
            self.lora_B = lora_B
            self.lora_scaling = lora_scaling

        def forward(self, x):
            delta = x @ (self.lora_B @ self.lora_A)
            return self.base_layer(x) + delta * self.lora_scaling

        def merge(self):
            self.base_layer.weight.data += self.lora_scaling * (self.lora_B @ self.lora_A)
    ```

    ## Good

    ```python
    class LoRALinear:
        def __init__(self, base_layer, lora_A, lora_B, lora_scaling):
            self.base_layer = base_layer
            self.lora_A = lora_A
            self.lora_B = lora_B
            self.lora_scaling = lora_scaling

        def forward(self, x):
            delta = x @ (self.lora_B @ self.lora_A).T
            return self.base_layer(x) + delta * self.lora_scaling

        def merge(self):
            self.base_layer.weight.data += self.lora_scaling * (self.lora_B @ self.lora_A)
    ```

    ## Fix safety

    Unsafe by definition: the result changes for every adapter, to the right one.

    ## Limits

    Needs both the merge and the forward in one class family; products spelled as `einsum` or by
    factor modules carry their own layout and are not judged.

    ## References

    - FastVideo commit 1e8406162 adds the transpose
    """

    code = "LS103"
    name = "untransposed-delta"
    fix = "sometimes"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Products of an activation and a delta that is merged as it is, turned the wrong way."""
        found: dict[tuple[str, Loc], tuple[Product, Application, Application]] = {}
        for family in families(ledger):
            merges = [item for item in family.applications if _merges_out_in(item)]
            for application in family.applications if merges else ():
                own = (item for item in merges if of_one_object(ledger, family, application, item))
                if (merge := next(own, None)) is not None:
                    for product in crossed_products(ledger, application):
                        place = (product.spot.file.filename, product.spot.loc)
                        found.setdefault(place, (product, application, merge))
        for product, application, merge in found.values():
            from lorascale_lint.codemods.transpose_delta import transpose_delta

            yield self.at(
                product.spot,
                "activation multiplied with the delta in weight layout (out x in), not transposed",
                effect="the output of the adapter is wrong for square layers and fails for all others",
                trace=[
                    (merge.spot, "the same product is merged into the weight as it is"),
                    (application.spot, "its product with the activation is added here"),
                ],
                fix=transpose_delta(ledger, product),
            )


def _merges_out_in(application: Application) -> bool:
    return application.kind == "merge" and all(b.layout == "out_in" for b in application.branches)
