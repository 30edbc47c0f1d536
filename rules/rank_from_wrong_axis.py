"""LS120: what alpha is divided by is an extent of a factor, and not the rank."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.wrong_axes import kernels_by_axis, wrong_axes
from lorascale_lint.rule import Rule


class RankFromWrongAxis(Rule):
    """Alpha divided by an extent that is not the rank

    ## What it finds

    A scale that takes the rank from the shape of a factor, and takes it from the other axis: the output
    size of B or the input size of A. Which axis is the rank is seen at the product that uses the factors.

    ## Why it is wrong

    B is out x rank and A is rank x in. The inner axis, over which the product sums, is the rank; the outer
    ones belong to the layer. alpha / out is smaller than alpha / rank by a factor that differs from layer
    to layer.

    ## Effect

    48x too weak for a layer of 3072 outputs and a rank of 64.

    ## Bad

    ```python
    def merge(weight, lora_up, lora_down, lora_alpha):
        scale = lora_alpha / lora_up.shape[0]
        weight += scale * (lora_up @ lora_down)
        return weight
    ```

    ## Good

    ```python
    def merge(weight, lora_up, lora_down, lora_alpha):
        scale = lora_alpha / lora_down.shape[0]
        weight += scale * (lora_up @ lora_down)
        return weight
    ```

    ## Fix safety

    No fix: read the extent from the axis that the product sums over, here `lora_up.shape[1]` or
    `lora_down.shape[0]`.

    ## Limits

    Silent where no product shows over which axis the factors are summed, whatever they are called, and
    where a number divides the scale that is not known. Of medium confidence where the shapes decide in which
    order the factors meet, and the extent is the rank in the other one.

    ## References

    - ssube/onnx-web#318: alpha over an extent of the up weight that is not its rank
    """

    code = "LS120"
    name = "rank-from-wrong-axis"
    fix = "none"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Deltas whose scale has alpha above, and below an extent of a factor that is not the rank."""
        for found in (*wrong_axes(ledger), *kernels_by_axis(ledger)):
            extent = f"extent {found.axis} of"
            yield self.at(
                found.spot,
                f"alpha is divided by {extent} factor {found.factor} in `{found.spot.name}`, "
                "which is the layer's size and not the rank",
                confidence="high" if found.sure else "medium",
                effect=f"alpha / {extent} {found.factor} instead of alpha / rank: too weak by the "
                "layer's size over the rank",
                trace=[*found.ways, (found.spot, "the product sums over another axis of this factor")],
            )
