"""LS119: one use of a layer's factors has the trained scale, another has none."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.effect import effect_of
from lorascale_lint.ledger.families import Family, families, is_bare, is_folded, is_read, scaled_siblings
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import trained
from lorascale_lint.ledger.scaled_sums import is_scaled_later
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.unscaled import is_changed_elsewhere
from lorascale_lint.rule import Rule


class SiblingWithoutScale(Rule):
    """Use of a layer's factors without the scale that the layer has

    ## What it finds

    A merge, forward or unmerge whose scale is known and holds nothing of alpha, of factors whose class
    applies them with the trained scale elsewhere, or keeps a trained scale that nobody reads: one number, or
    one for each adapter, of LoRA, LoHa, LoKr and embeddings.

    ## Why it is wrong

    The factors were trained under alpha / rank. A path without it applies another delta than the path beside
    it.

    ## Effect

    2.00x too strong for alpha 64 and rank 128.

    ## Bad

    ```python
    import torch
    from torch import nn


    class KronLinear(nn.Module):
        def __init__(self, base, r, alpha, factor=8):
            super().__init__()
            self.base = base
            self.scale = alpha / r
            out, inner = base.weight.shape
            self.lokr_w1 = nn.Parameter(torch.randn(factor, factor))
            self.lokr_w2_a = nn.Parameter(torch.randn(out // factor, r))
            self.lokr_w2_b = nn.Parameter(torch.zeros(r, inner // factor))

        def forward(self, x):
            delta = torch.kron(self.lokr_w1, self.lokr_w2_a @ self.lokr_w2_b) * self.scale
            return self.base(x) + nn.functional.linear(x, delta)

        def merge(self):
            self.base.weight.data += torch.kron(self.lokr_w1, self.lokr_w2_a @ self.lokr_w2_b)
            return self.base
    ```

    ## Good

    ```python
    import torch
    from torch import nn


    class KronLinear(nn.Module):
        def __init__(self, base, r, alpha, factor=8):
            super().__init__()
            self.base = base
            self.scale = alpha / r
            out, inner = base.weight.shape
            self.lokr_w1 = nn.Parameter(torch.randn(factor, factor))
            self.lokr_w2_a = nn.Parameter(torch.randn(out // factor, r))
            self.lokr_w2_b = nn.Parameter(torch.zeros(r, inner // factor))

        def forward(self, x):
            delta = torch.kron(self.lokr_w1, self.lokr_w2_a @ self.lokr_w2_b) * self.scale
            return self.base(x) + nn.functional.linear(x, delta)

        def merge(self):
            self.base.weight.data += torch.kron(self.lokr_w1, self.lokr_w2_a @ self.lokr_w2_b) * self.scale
            return self.base
    ```

    ## Fix safety

    No fix: multiply the delta by the layer's scale at this place, or fold it into a factor on every path.

    ## Limits

    Of medium confidence: the uses may be those of different modes. Silent where a factor of the class is
    folded, where the conditions of the two paths exclude each other, where the field of the scale multiplies
    and is 1 as far as was seen, and where a number on the way is not known. LoKr of two full matrices has
    no rank and no scale.

    ## References

    - huggingface/peft#2180: the scale of a LoKr layer is kept and not used
    """

    code = "LS119"
    name = "sibling-without-scale"
    fix = "none"
    yields_to = ("LS101", "LS102", "LS103", "LS104", "LS105", "LS108", "LS109", "LS112", "LS113")

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Applications at scale 1 or a bare strength in a family that has a trained scale."""
        for family in families(ledger):
            if is_folded(ledger, family):
                continue
            for application in family.applications:
                if not is_bare(application) or is_scaled_later(ledger, application):
                    continue
                if is_changed_elsewhere(ledger, application.spot):
                    continue
                if family.scaling is not None and family.scaling.name in application.fixed_fields:
                    continue
                siblings = (
                    (sibling.spot, sibling.scale.formula())
                    for sibling in scaled_siblings(ledger, family, application)
                    if not sibling.apart
                )
                witness = next(siblings, _unread_scale(ledger, family))
                if witness is None:
                    continue
                yield self.at(
                    application.spot,
                    f"`{application.spot.name}` uses the factors of `{family.holders[application].name}` "
                    f"at scale {application.formula}, without its trained scale",
                    confidence="medium",
                    effect=effect_of(application.branches[0].scale),
                    trace=[(witness[0], f"here the scale is {witness[1]}")],
                )


def _unread_scale(ledger: Ledger, family: Family) -> tuple[Spot, str] | None:
    """Where the trained scale of each adapter is kept in a field that no code reads.

    One number in a field of its own is for LS108.
    """
    for field in family.fields:
        if not is_read(ledger, family, field.name):
            for kept in field.kept:
                if kept.how == "entry" and kept.scales and all(trained(scale) for scale in kept.scales):
                    return kept.spot, "kept in a field that nobody reads: alpha / rank"
    return None
