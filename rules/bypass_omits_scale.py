"""LS112: the activation path of an adapter network leaves out a scalar of its weight path."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from lorascale_lint.codemods.scale_returned import scale_returned
from lorascale_lint.facts.terms import is_none
from lorascale_lint.findings import Finding
from lorascale_lint.model import Model
from lorascale_lint.model.adapter_paths import left_out_scalars
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

    Compares the methods of one class. Silent if the activation's path names any other scale, calls the
    weight's path, or if the class writes scaled tensors back; strengths that the caller chooses are LS105's.

    ## References

    - LyCORIS bb1358c4, `bypass_forward_diff` of LoKr without `self.scalar`; f49d30d6, without `self.scale`
    """

    code = "LS112"
    name = "bypass-omits-scale"
    fix = "sometimes"

    def check(self, model: Model) -> Iterator[Finding]:
        """One finding for each scalar that a path leaves out."""
        known = {application.function for _, application, _ in model.unscaled_applications("forward")}
        for found in left_out_scalars(model):
            use, missing = found.use, found.missing
            if use.trained and missing in known:
                continue  # LS102 says it
            kind = "the trained scale" if use.trained else "the learned scalar"
            returns = [event for event in missing.events("return") if not is_none(event.value)]
            fix = None
            if len(returns) == 1:
                applicability: Literal["safe", "unsafe"] = "safe" if use.trained else "unsafe"
                fix = scale_returned(model, missing, found.event, use.name, applicability)
            yield self.finding(
                model,
                missing.filename,
                found.event.loc,
                f"`{missing.facts.qualname}` leaves out {kind} `self.{use.name}` of "
                f"`{use.function.facts.qualname}`",
                event=found.event,
                effect="rank / alpha of the trained strength" if use.trained else None,
                trace=(
                    (use.function.filename, use.loc, f"{kind} is multiplied onto the weight here"),
                    (missing.filename, missing.facts.loc, "the same tensors are applied to the activation"),
                    (missing.filename, found.event.loc, "and returned without it"),
                ),
                fix=fix,
            )
