"""LS406: layers of one kind get their own rank and the alpha of another kind."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.layer_kinds import mixed_kinds
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.rule import Rule


class AlphaOfOtherKind(Rule):
    """Alpha of another kind of layer beside this kind's rank

    ## What it finds

    A call that makes an adapter with the rank of one kind of layer (`conv_dim`, `text_rank`) and an alpha
    that is not of that kind, in code that has an alpha for the kind (`conv_alpha`).

    ## Why it is wrong

    The trained scale is alpha / rank of the same layer. The person set an alpha for these layers, and it is
    never used.

    ## Effect

    alpha / conv_alpha: 16.00x too strong for alpha=16 where conv_alpha=1 was asked for.

    ## Bad

    ```python
    class LoRANetwork:
        def __init__(self, unet, lora_dim=4, conv_dim=4, alpha=1, conv_alpha=1):
            self.lora_dim = lora_dim
            self.conv_dim = conv_dim
            self.alpha = alpha
            self.conv_alpha = conv_alpha
            self.loras = []
            for name, module in unet.named_modules():
                if module.__class__.__name__ == "Linear":
                    self.loras.append(LoRAModule(name, module, self.lora_dim, self.alpha))
                elif module.__class__.__name__ == "Conv2d":
                    self.loras.append(LoRAModule(name, module, self.conv_dim, self.alpha))
    ```

    ## Good

    ```python
    class LoRANetwork:
        def __init__(self, unet, lora_dim=4, conv_dim=4, alpha=1, conv_alpha=1):
            self.lora_dim = lora_dim
            self.conv_dim = conv_dim
            self.alpha = alpha
            self.conv_alpha = conv_alpha
            self.loras = []
            for name, module in unet.named_modules():
                if module.__class__.__name__ == "Linear":
                    self.loras.append(LoRAModule(name, module, self.lora_dim, self.alpha))
                elif module.__class__.__name__ == "Conv2d":
                    self.loras.append(LoRAModule(name, module, self.conv_dim, self.conv_alpha))
    ```

    ## Fix safety

    No fix: adapters may have been trained with the other alpha meanwhile. Pass the alpha that goes with the
    rank, and keep the old one for files that were trained with it.

    ## Limits

    Of medium confidence: it goes by the names of both values, and looks at values that are passed on as
    they are.

    ## References

    - LyCORIS 29cbf60a, `LoRANetwork.__init__` of locon
    """

    code = "LS406"
    name = "alpha-of-other-kind"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """One finding for each call that mixes the kinds."""
        for found in mixed_kinds(ledger):
            alpha, rank, own = found.alpha, found.rank, found.own
            yield self.at(
                alpha.spot,
                f"`{alpha.spot.name}` gives layers of rank `{rank.name}` the alpha `{alpha.name}` and not "
                f"`{own}`",
                confidence="medium",
                effect=f"{alpha.name} / {own} of the strength that was asked for",
                trace=[
                    (rank.spot, f"the rank is that of the kind: `{rank.name}`"),
                    (alpha.spot, f"the alpha is not, though there is `{own}`"),
                ],
            )
