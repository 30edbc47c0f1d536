"""LS120: what alpha is divided by is an extent of a factor, and not the rank."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.knowledge.roles import ALPHA
from lorascale_lint.ledger.applications import Branch, applications
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.provenance.scale import EXTENT, RANK_AXES, Symbol
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

    Silent where no product shows how the factors lie, and where another number of the scale is not known.

    ## References

    - ssube/onnx-web#318: alpha over an extent of the up weight that is not its rank
    """

    code = "LS120"
    name = "rank-from-wrong-axis"
    fix = "none"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Applications whose scale has alpha above, and below an extent of a factor that is not the rank."""
        for application in applications(ledger):
            for branch in application.branches:
                symbol = _wrong_axis(branch)
                if symbol is None:
                    continue
                axis, factor = symbol.origin.partition(" <")[0].split(" of ")
                yield self.at(
                    application.spot,
                    f"alpha is divided by extent {axis} of factor {factor} in `{application.spot.name}`, "
                    f"which is the layer's size and not the rank",
                    effect=f"alpha / extent {axis} of {factor} instead of alpha / rank: too weak by the "
                    "layer's size over the rank",
                    trace=[(application.spot, "the product sums over the other axis of this factor")],
                )
                break


def _wrong_axis(branch: Branch) -> Symbol | None:
    """The extent below alpha, if nothing else of the scale is unknown."""
    if branch.layout not in RANK_AXES or any(not symbol.role for symbol, _ in branch.scale.powers):
        return None
    powers = {symbol.role: power for symbol, power in branch.scale.powers}
    if powers.get(ALPHA, 0) <= 0:
        return None
    below = [symbol for symbol, power in branch.scale.powers if symbol.role == EXTENT and power < 0]
    return below[0] if len(below) == 1 and " of " in below[0].origin else None
