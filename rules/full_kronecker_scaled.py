"""LS407: LoKr divides alpha by a rank that its full matrices do not have."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.kronecker import kroneckers, scaled_when_full
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.rule import Rule


class FullKroneckerScaled(Rule):
    """LoKr scaled by alpha / rank with both matrices full

    ## What it finds

    A LoKr layer that may keep both Kronecker factors as full matrices, divides alpha by the rank all the
    same, and saves alpha for other programs. And a reader of a file that multiplies the product of two full
    matrices by alpha, or by alpha over a rank that neither has.

    ## Why it is wrong

    Without a low-rank factor there is no rank. Readers of such files (LyCORIS, ComfyUI, webui, InvokeAI)
    find none in the shapes and apply the weight at scale 1, whatever alpha says.

    ## Effect

    rank / alpha: 4.00x too strong elsewhere for alpha=1, rank=4.

    ## Bad

    ```python
    class LokrModule:
        def __init__(self, shape, lora_dim=4, alpha=1):
            if lora_dim < shape[0] / 2:
                self.lokr_w1_a = nn.Parameter(torch.empty(shape[0], lora_dim))
                self.lokr_w1_b = nn.Parameter(torch.empty(lora_dim, shape[1]))
            else:
                self.lokr_w1 = nn.Parameter(torch.empty(shape[0], shape[1]))
            if lora_dim < shape[2] / 2:
                self.lokr_w2_a = nn.Parameter(torch.empty(shape[2], lora_dim))
                self.lokr_w2_b = nn.Parameter(torch.empty(lora_dim, shape[3]))
            else:
                self.lokr_w2 = nn.Parameter(torch.empty(shape[2], shape[3]))
            self.scale = alpha / lora_dim
            self.register_buffer("alpha", torch.tensor(alpha))
    ```

    ## Good

    ```python
    class LokrModule:
        def __init__(self, shape, lora_dim=4, alpha=1):
            if lora_dim < shape[0] / 2:
                self.lokr_w1_a = nn.Parameter(torch.empty(shape[0], lora_dim))
                self.lokr_w1_b = nn.Parameter(torch.empty(lora_dim, shape[1]))
            else:
                self.lokr_w1 = nn.Parameter(torch.empty(shape[0], shape[1]))
            if lora_dim < shape[2] / 2:
                self.lokr_w2_a = nn.Parameter(torch.empty(shape[2], lora_dim))
                self.lokr_w2_b = nn.Parameter(torch.empty(lora_dim, shape[3]))
            else:
                self.lokr_w2 = nn.Parameter(torch.empty(shape[2], shape[3]))
            if hasattr(self, "lokr_w1") and hasattr(self, "lokr_w2"):
                alpha = lora_dim
            self.scale = alpha / lora_dim
            self.register_buffer("alpha", torch.tensor(alpha))
    ```

    ## Fix safety

    Unsafe: the scale of a layer with two full matrices becomes 1, which is what readers apply. Files that
    were saved already need another alpha, and a run that is resumed goes on at another scale. No fix where
    alpha and rank are no plain names in the constructor.

    ## Limits

    Silent if any method asks for both matrices together, and for classes that save no alpha: a library
    that keeps alpha in a configuration of its own (PEFT) may divide.

    ## References

    - LyCORIS 1554a3e3, `LokrModule.__init__`
    """

    code = "LS407"
    name = "full-kronecker-scaled"
    fix = "sometimes"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """One finding for each scale of a class that may have two full matrices."""
        for layer in kroneckers(ledger):
            if layer.saved is None or not layer.may_be_full or layer.asks_for_both:
                continue
            for scale in layer.scales():
                from lorascale_lint.codemods.alpha_is_rank_if import alpha_is_rank_if

                yield self.at(
                    scale.spot,
                    f"`{scale.spot.name}` divides alpha by the rank where both Kronecker factors may be full "
                    "matrices",
                    effect="rank / alpha of the trained strength in every reader of the file",
                    trace=[
                        (layer.full["1"].spot, "the first factor may be a full matrix"),
                        (layer.full["2"].spot, "and so may the second"),
                        (scale.spot, "the scale divides by a rank that neither has"),
                    ],
                    fix=alpha_is_rank_if(ledger, scale, layer),
                )
        for step in scaled_when_full(ledger):
            yield self.at(
                step.spot,
                f"`{step.spot.name}` multiplies two full Kronecker factors by {step.scale.formula()}",
                effect="another scale than 1, which every other reader of the file applies",
                trace=[(step.spot, "both matrices are entries of the file as they are: there is no rank")],
            )
