"""LS211: alpha defaults to the rank that was asked for, while the factors have a smaller one."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.clipped_ranks import unclipped_defaults
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.rule import Rule


class UnclippedDefaultAlpha(Rule):
    """Default alpha of a layer whose rank was clipped

    ## What it finds

    A rank that is clipped to the extents of a layer, `min(rank, in_features, out_features)`, and divides
    an alpha whose default is the rank as it was before.

    ## Why it is wrong

    "No alpha means alpha = rank" stands for scale 1. In a layer that is smaller than the rank, alpha is
    the rank that was asked for and the divisor the one that the layer has.

    ## Effect

    Effective scale 16 instead of 1 for rank 64 in a layer with 4 channels; other layers are right.

    ## Bad

    ```python
    import torch.nn as nn


    class LoRAModule(nn.Module):
        def __init__(self, org_module, lora_dim=4, alpha=None):
            super().__init__()
            self.lora_dim = min(lora_dim, org_module.in_channels, org_module.out_channels)
            self.lora_down = nn.Conv2d(org_module.in_channels, self.lora_dim, 1, bias=False)
            self.lora_up = nn.Conv2d(self.lora_dim, org_module.out_channels, 1, bias=False)
            alpha = lora_dim if alpha is None or alpha == 0 else alpha
            self.scale = alpha / self.lora_dim
            self.org_forward = org_module.forward

        def forward(self, x):
            return self.org_forward(x) + self.lora_up(self.lora_down(x)) * self.scale
    ```

    ## Good

    ```python
    import torch.nn as nn


    class LoRAModule(nn.Module):
        def __init__(self, org_module, lora_dim=4, alpha=None):
            super().__init__()
            self.lora_dim = min(lora_dim, org_module.in_channels, org_module.out_channels)
            self.lora_down = nn.Conv2d(org_module.in_channels, self.lora_dim, 1, bias=False)
            self.lora_up = nn.Conv2d(self.lora_dim, org_module.out_channels, 1, bias=False)
            alpha = self.lora_dim if alpha is None or alpha == 0 else alpha
            self.scale = alpha / self.lora_dim
            self.org_forward = org_module.forward

        def forward(self, x):
            return self.org_forward(x) + self.lora_up(self.lora_down(x)) * self.scale
    ```

    ## Fix safety

    Unsafe: layers that are smaller than the rank change. An adapter that was trained so needs the rank that
    was asked for as the alpha of those layers. No fix where the default is an `if` of its own, or comes
    before the rank is clipped: clip first.

    ## Limits

    Clipping by `min` and a default in the same function count. An alpha that the caller gives is divided
    by the clipped rank, as files say it. Of medium confidence: callers mostly give an alpha.

    ## References

    - p1atdev/LECO `lora.py`, from an early kohya-ss/sd-scripts
    """

    code = "LS211"
    name = "unclipped-default-alpha"
    fix = "sometimes"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """One finding for each default."""
        for found in unclipped_defaults(ledger):
            from lorascale_lint.codemods.default_to_divisor import default_to_divisor

            yield self.at(
                found.asked,
                f"a missing alpha becomes `{found.rank}`, and is divided by the rank clipped to the layer",
                confidence="medium",
                effect="effective scale rank asked for / rank of the layer instead of 1",
                trace=[
                    (found.asked, f"an alpha that is missing here becomes `{found.rank}` as it was given"),
                    (
                        found.quotient,
                        f"and is divided by `{found.rank}` as the layer's extents clip it",
                    ),
                ],
                fix=default_to_divisor(ledger.read_source, found.asked, found.quotient, found.rank),
            )
