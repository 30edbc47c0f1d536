"""LS120: what alpha is divided by is an extent of a factor, and not the rank."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.knowledge.roles import ALPHA
from lorascale_lint.ledger.applications import applications, products
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import scale_of, symbol_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.provenance.scale import EXTENT, RANK_AXES, Scale, Symbol
from lorascale_lint.provenance.values import Tensor, Value, options
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

    Of medium confidence: what is called A may be the up projection. Silent where no product shows how the
    factors lie, and where another number of the scale is not known.

    ## References

    - ssube/onnx-web#318: alpha over an extent of the up weight that is not its rank
    """

    code = "LS120"
    name = "rank-from-wrong-axis"
    fix = "none"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Deltas whose scale has alpha above, and below an extent of a factor that is not the rank."""
        seen: set[object] = set()
        for spot, scale, layout in _deltas(ledger):
            symbol = _wrong_axis(scale, layout)
            if symbol is None:
                continue
            ways = list(_ways(ledger, spot, symbol))
            cause = ways[-1][0].node if ways else spot.node  # one division, of however many deltas
            if cause in seen:
                continue
            seen.add(cause)
            axis, factor = symbol.origin.partition(" <")[0].split(" of ")
            yield self.at(
                spot,
                f"alpha is divided by extent {axis} of factor {factor} in `{spot.name}`, "
                f"which is the layer's size and not the rank",
                confidence="medium",
                effect=f"alpha / extent {axis} of {factor} instead of alpha / rank: too weak by the "
                "layer's size over the rank",
                trace=[*ways, (spot, "the product sums over the other axis of this factor")],
            )


def _ways(ledger: Ledger, spot: Spot, symbol: Symbol) -> Iterator[tuple[Spot, str]]:
    """Where the extent gets a name, and where alpha is divided by it, on the way to the delta at ``spot``."""

    def leads_here(other: Spot) -> bool:
        callee = other.chain[: len(spot.chain)] == spot.chain and len(other.chain) > len(spot.chain)
        of_class = spot.cls is not None and other.cls is spot.cls
        return callee or of_class or other.function is spot.function

    named = [(bind.spot, bind.name, bind.value) for bind in ledger.binds]
    named += [(given.spot, given.spot.name, given.value) for given in ledger.returns]
    for place, name, value in named:
        if leads_here(place) and any(_is(option.value, symbol) for option in options(value)):
            yield place, f"`{name}` is this extent"
            break
    for quotient in ledger.quotients:
        by = options(quotient.by)
        if leads_here(quotient.spot) and any(_holds(option.value, symbol) for option in by):
            yield quotient.spot, "and alpha is divided by it"
            break


def _is(value: Value, symbol: Symbol) -> bool:
    return symbol_of(value) == symbol


def _holds(value: Value, symbol: Symbol) -> bool:
    scale = scale_of(value)
    return scale is not None and any(own.origin == symbol.origin for own, _ in scale.powers)


def _deltas(ledger: Ledger) -> Iterator[tuple[Spot, Scale, str]]:
    """Where a delta is applied, and where one is only made."""
    rows: set[tuple[str, int]] = set()
    for application in applications(ledger):
        rows.update((application.spot.file.filename, row) for row in application.rows)
        for branch in application.branches:
            yield application.spot, branch.scale, branch.layout
    for product in products(ledger):
        made = product.spot.file.filename, product.spot.row
        if product.kind == "delta" and product.scale is not None and made not in rows:
            yield product.spot, product.scale, product.layout
    for given in ledger.returns:
        for option in options(given.value):
            delta = option.value
            made_here = {(given.spot.file.filename, row) for row in getattr(delta, "rows", ())}
            if isinstance(delta, Tensor) and delta.kind == "delta" and rows.isdisjoint(made_here):
                yield given.spot, delta.scale, delta.layout


def _wrong_axis(scale: Scale, layout: str) -> Symbol | None:
    """The extent below alpha, if nothing else of the scale is unknown."""
    if layout not in RANK_AXES or any(not symbol.role for symbol, _ in scale.powers):
        return None
    powers = {symbol.role: power for symbol, power in scale.powers}
    if powers.get(ALPHA, 0) <= 0:
        return None
    below = [symbol for symbol, power in scale.powers if symbol.role == EXTENT and power < 0]
    return below[0] if len(below) == 1 and " of " in below[0].origin else None
