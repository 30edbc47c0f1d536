"""LS103: an activation is multiplied with a weight-space delta that is not transposed."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.codemods.transpose_delta import transpose_delta
from lorascale_lint.facts.terms import Op, Param, walk
from lorascale_lint.findings import Finding
from lorascale_lint.model import Model
from lorascale_lint.model.applications import Application
from lorascale_lint.rule import Rule


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

    def check(self, model: Model) -> Iterator[Finding]:
        """Forward applications of an untransposed delta beside a merge of the same layout."""
        for implementation in model.implementations:
            merge = next((a for a in implementation.applications if _merges_out_in(a)), None)
            if merge is None:
                continue
            for application in implementation.applications:
                product = _activation_product(application) if application.misoriented else None
                if product is None:
                    continue
                function = application.function
                yield self.finding(
                    model,
                    function.filename,
                    product.loc,
                    "activation multiplied with the delta in weight layout (out x in), not transposed",
                    effect="the output of the adapter is wrong for square layers and fails for all others",
                    trace=[
                        (
                            merge.function.filename,
                            merge.loc,
                            "the same product is merged into the weight as it is",
                        ),
                        (function.filename, application.loc, "its product with the activation is added here"),
                    ],
                    fix=transpose_delta(model, function, product),
                )


def _merges_out_in(application: Application) -> bool:
    return application.kind == "merge" and all(
        getattr(a.value, "layout", "") == "out_in" for a in application.deltas
    )


def _activation_product(application: Application) -> Op | None:
    """The outermost ``x @ delta`` in the applied term whose ``x`` is a parameter of the method."""
    parameters = {parameter.name for parameter in application.function.facts.parameters}
    for term in walk(application.delta):
        if (
            isinstance(term, Op)
            and term.sign == "@"
            and isinstance(term.left, Param)
            and term.left.name in parameters
        ):
            return term
    return None
