"""LS115: the forward that adds the delta is replaced by one that adds none, or passed by."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.handed_weights import handed_weights
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.omitted import omitted
from lorascale_lint.ledger.spots import Spot, name_spot
from lorascale_lint.rule import Rule


class ForwardOmitsDelta(Rule):
    """Forward of a subclass that leaves the delta out

    ## What it finds

    A class whose base adds the delta in `forward`, which replaces that method, computes the base layer's
    output there and neither reads a factor nor calls anything that does. Also one that leaves it to
    attributes or methods which nothing ever sets. And code that reads the `weight` of a layer whose forward
    adds the delta, and which is that of its base: `F.linear(x, layer.weight)`, or `nn.MultiheadAttention`
    where such a layer is its `out_proj`.

    ## Why it is wrong

    Such a layer works while its delta is merged, because merging is inherited. Unmerged, in training or
    after `unmerge`, the adapter does nothing there, or the call fails.

    ## Effect

    Effective scale 0 instead of alpha / rank while unmerged.

    ## Bad

    ```python
    class LoRALinear:
        def __init__(self, base_layer, lora_scaling):
            self.base_layer = base_layer
            self.lora_scaling = lora_scaling
            self.merged = False

        def set_lora_weights(self, lora_A, lora_B):
            self.lora_A = lora_A
            self.lora_B = lora_B

        def forward(self, x):
            if not self.merged:
                delta = x @ self.lora_A.T @ self.lora_B.T
                out = self.base_layer(x)
                return out + delta * self.lora_scaling
            return self.base_layer(x)

        def merge(self):
            self.base_layer.weight.data += self.lora_scaling * (self.lora_B @ self.lora_A)
            self.merged = True


    class GatheredLoRALinear(LoRALinear):
        def forward(self, x):
            output = self.base_layer.quant_method.apply(self.base_layer, x)
            return all_gather(output)
    ```

    ## Good

    ```python
    class LoRALinear:
        def __init__(self, base_layer, lora_scaling):
            self.base_layer = base_layer
            self.lora_scaling = lora_scaling
            self.merged = False

        def set_lora_weights(self, lora_A, lora_B):
            self.lora_A = lora_A
            self.lora_B = lora_B

        def lora_delta(self, x):
            delta = x @ self.lora_A.T @ self.lora_B.T
            return delta * self.lora_scaling

        def forward(self, x):
            if not self.merged:
                out = self.base_layer(x)
                return out + self.lora_delta(x)
            return self.base_layer(x)

        def merge(self):
            self.base_layer.weight.data += self.lora_scaling * (self.lora_B @ self.lora_A)
            self.merged = True


    class GatheredLoRALinear(LoRALinear):
        def forward(self, x):
            output = self.base_layer.quant_method.apply(self.base_layer, x)
            if not self.merged:
                output = output + self.lora_delta(x)
            return all_gather(output)
    ```

    ## Fix safety

    Unsafe by definition: the output of the subclass changes. The delta of the base's forward becomes a
    method, which both call. Offered where that forward is `if <unmerged>: ... return base + delta`.

    ## Limits

    Silent if the method hands `self` on, calls `super()`, or calls a method that is not in sight. The base
    class must take both factors by a setter and merge them.

    ## References

    - FastVideo 0.1.4 to 0.2.1, `ColumnParallelLinearWithLoRA` and `RowParallelLinearWithLoRA`; repaired in
      SGLang's copy of that file
    """

    code = "LS115"
    name = "forward-omits-delta"
    fix = "sometimes"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """One finding for each replaced forward."""
        for found in omitted(ledger):
            names = " and ".join(dict.fromkeys(f"`self.{_name(spot)}`" for spot in found.missing))
            trace = [
                (found.application.spot, "the base class adds the delta here"),
                (found.base_call.spot, "the output is computed without it here"),
            ]
            if names:
                trace.append((found.missing[0], f"nothing ever sets {names}"))
            from lorascale_lint.codemods.add_delta import add_delta

            yield self.at(
                name_spot(found.override),
                f"`{found.override.qualname}` replaces a forward that adds the delta, and adds none",
                effect="effective scale 0 instead of alpha / rank while the delta is not merged",
                trace=trace,
                fix=add_delta(ledger, found),
            )
        for past in handed_weights(ledger):
            layer = past.forward.spot.cls.name if past.forward.spot.cls is not None else "the layer"
            yield self.at(
                past.read,
                f"{past.reader} reads the weight of `{layer}`, which is that of its base, and adds no delta",
                confidence=past.confidence,
                effect="effective scale 0 instead of alpha / rank there",
                trace=[
                    (past.given, "the weight of the layer is that of its base"),
                    (past.forward.spot, "only the forward of the layer adds the delta"),
                    (past.read, "here the weight is read, and the layer not called"),
                ],
            )


def _name(spot: Spot) -> str:
    return str(getattr(spot.node, "attr", ""))
