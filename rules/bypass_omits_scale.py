"""LS112: the activation path of an adapter network leaves out a scalar of its weight path."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.families import families
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.paths import TRAINED, left_out, made_by
from lorascale_lint.rule import Rule


class BypassOmitsScale(Rule):
    """Forward of an adapter network without a scalar of its weight

    ## What it finds

    A layer (LoHa, LoKr, GLoRA or the like) that can be applied in two ways: by making its weight, and
    by sending the activation through its matrices. The weight is multiplied by the trained scale or by a
    learned scalar, which the way of the activation, what it calls and what calls it never name.

    ## Why it is wrong

    Both ways are the same layer. A model that was trained or merged the one way is run at another
    strength the other way.

    ## Effect

    rank / alpha of the trained strength: 2.00x too strong for alpha=64, rank=128; without a learned scalar,
    1 / scalar.

    ## Bad

    ```python
    class LokrLayer:
        def __init__(self, org_module, lora_dim, alpha):
            self.org_module = org_module
            self.lokr_w1 = make_parameter()
            self.lokr_w2_a = make_parameter()
            self.lokr_w2_b = make_parameter()
            self.scale = alpha / lora_dim

        def get_delta_weight(self):
            return torch.kron(self.lokr_w1, self.lokr_w2_a @ self.lokr_w2_b) * self.scale

        def bypass(self, x):
            h = x.unflatten(-1, (self.lokr_w1.shape[1], -1))
            h = F.linear(F.linear(h, self.lokr_w2_b), self.lokr_w2_a)
            return F.linear(h.transpose(-1, -2), self.lokr_w1).transpose(-1, -2).flatten(-2)

        def forward(self, x):
            return self.org_module(x) + self.bypass(x)
    ```

    ## Good

    ```python
    class LokrLayer:
        def __init__(self, org_module, lora_dim, alpha):
            self.org_module = org_module
            self.lokr_w1 = make_parameter()
            self.lokr_w2_a = make_parameter()
            self.lokr_w2_b = make_parameter()
            self.scale = alpha / lora_dim

        def get_delta_weight(self):
            return torch.kron(self.lokr_w1, self.lokr_w2_a @ self.lokr_w2_b) * self.scale

        def bypass(self, x):
            h = x.unflatten(-1, (self.lokr_w1.shape[1], -1))
            h = F.linear(F.linear(h, self.lokr_w2_b), self.lokr_w2_a)
            return F.linear(h.transpose(-1, -2), self.lokr_w1).transpose(-1, -2).flatten(-2) * self.scale

        def forward(self, x):
            return self.org_module(x) + self.bypass(x)
    ```

    ## Fix safety

    Safe for the trained scale, which is 1 for alpha = rank; unsafe for a learned scalar. An adapter that
    was trained on the path without it needs another alpha. No fix where the method returns in several
    places, or a sum.

    ## Limits

    Of medium confidence. Compares the methods of one class. Silent where its field multiplies and is 1
    as far as was seen. Silent if the activation's path names any other scale, calls the
    weight's path, or if the class writes scaled tensors back; strengths that the caller chooses are LS105's.

    ## References

    - LyCORIS bb1358c4, `bypass_forward_diff` of LoKr without `self.scalar`; f49d30d6, without `self.scale`
    """

    code = "LS112"
    name = "bypass-omits-scale"
    fix = "sometimes"
    yields_to = ("LS102",)

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """One finding for each scalar that a path leaves out."""
        for family in families(ledger):
            for found in left_out(ledger, family):
                trained = found.roles == TRAINED
                kind = "the trained scale" if trained else "the learned scalar"
                name = f" `self.{found.name}`" if found.name else ""
                given = made_by(ledger, found.path)
                from lorascale_lint.codemods.scale_returned import scale_returned

                yield self.at(
                    found.path.spot,
                    f"`{found.path.spot.name}` leaves out {kind}{name} of `{found.way.name}`",
                    confidence="medium",
                    effect="rank / alpha of the trained strength" if trained else None,
                    trace=[
                        (found.at, f"{kind} is multiplied onto the weight here"),
                        (found.path.spot, "the same tensors are applied to the activation without it"),
                        *([] if given is None else [(given.spot, "and are returned here")]),
                    ],
                    fix=scale_returned(ledger, found.path, found.name, "safe" if trained else "unsafe"),
                )
