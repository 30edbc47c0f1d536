"""LS123: the bias of B is merged without the scale that it has in the forward."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.knowledge.roles import ALPHA, GATE, SCALING
from lorascale_lint.ledger.applications import applications, family_of
from lorascale_lint.ledger.entries import BiasSum
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.rule import Rule


class BiasOfBUnscaled(Rule):
    """Bias of a factor B merged without the trained scale

    ## What it finds

    A merge or unmerge that adds the bias of `lora_B` to the base's bias as it is, or takes it away, in a
    layer whose delta has the trained scale.

    ## Why it is wrong

    The forward computes `scaling * lora_B(lora_A(x))`, and the bias is inside: it was trained under the scale
    too.

    ## Effect

    2.00x too strong a bias for alpha 64 and rank 128.

    ## Bad

    ```python
    from torch import nn


    class LoraLinear(nn.Module):
        def __init__(self, base, rank, alpha):
            super().__init__()
            self.base = base
            self.scaling = alpha / rank
            self.lora_A = nn.Linear(base.in_features, rank, bias=False)
            self.lora_B = nn.Linear(rank, base.out_features, bias=True)

        def forward(self, x):
            return self.base(x) + self.lora_B(self.lora_A(x)) * self.scaling

        def merge(self):
            self.base.weight.data += self.scaling * (self.lora_B.weight @ self.lora_A.weight)
            self.base.bias.data += self.lora_B.bias
            return self.base
    ```

    ## Good

    ```python
    from torch import nn


    class LoraLinear(nn.Module):
        def __init__(self, base, rank, alpha):
            super().__init__()
            self.base = base
            self.scaling = alpha / rank
            self.lora_A = nn.Linear(base.in_features, rank, bias=False)
            self.lora_B = nn.Linear(rank, base.out_features, bias=True)

        def forward(self, x):
            return self.base(x) + self.lora_B(self.lora_A(x)) * self.scaling

        def merge(self):
            self.base.weight.data += self.scaling * (self.lora_B.weight @ self.lora_A.weight)
            self.base.bias.data += self.lora_B.bias * self.scaling
            return self.base
    ```

    ## Fix safety

    No fix: multiply the bias by what multiplies the delta, in merge and unmerge alike.

    ## Limits

    Silent where the delta of the class is not known to be scaled, and where a number on the way is not known.

    ## References

    - huggingface/peft: `lora_bias` in merge and unmerge before the scale was there
    """

    code = "LS123"
    name = "bias-of-b-unscaled"
    fix = "none"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Biases at a known scale without alpha, in a class that applies its delta with it."""
        scaled = _scaled(ledger)
        reported: set[tuple[str, int]] = set()
        for entry in ledger.bias_sums:
            cls = entry.spot.cls
            place = (entry.spot.file.filename, entry.spot.row)
            witness = scaled.get((place[0], cls.name if cls is not None else ""))
            if witness is None or place in reported or not _bare(entry):
                continue
            reported.add(place)
            yield self.at(
                entry.spot,
                f"`{entry.spot.name}` uses the bias of B without the scale that the delta has",
                trace=[(witness, "here the delta arrives with the trained scale")],
            )


def _scaled(ledger: Ledger) -> dict[tuple[str, str], Spot]:
    """Classes whose delta is applied with a trained scale, and where."""
    found: dict[tuple[str, str], Spot] = {}
    for application in applications(ledger):
        roles = {
            s.role for b in application.branches if not b.reasons for s, power in b.scale.powers if power > 0
        }
        if roles & {ALPHA, SCALING} and family_of(application)[1]:
            found.setdefault(family_of(application), application.spot)
    return found


def _bare(entry: BiasSum) -> bool:
    return abs(entry.scale.coefficient) == 1 and all(s.role == GATE for s, _ in entry.scale.powers)
