"""LS105: merge multiplies by the user's strength, forward does not (or the other way round)."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.knowledge.roles import MULTIPLIER, STRENGTH
from lorascale_lint.ledger.applications import Application
from lorascale_lint.ledger.deltas import made_at, only_normed
from lorascale_lint.ledger.families import Family, families, is_folded, of_one_object
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.renormed import renormed
from lorascale_lint.provenance.scale import Symbol
from lorascale_lint.rule import Rule


class StrengthOnOnePath(Rule):
    """Strength applied on one path only

    ## What it finds

    A layer whose merge multiplies the delta by a stored strength, or by the multiplier that the layer is
    made with, while its forward, for the same factors, does not (or the other way round).

    ## Why it is wrong

    The person who asks for strength 0.5 gets `0.5 * alpha / r` merged and `alpha / r` unmerged.

    ## Effect

    2.00x too strong for strength=0.5 on the path that forgets it.

    ## Bad

    ```python
    class LoRALinear:
        def __init__(self, base_layer, lora_scaling):
            self.base_layer = base_layer
            self.lora_scaling = lora_scaling
            self.lora_strength = 1.0

        def forward(self, x):
            delta = x @ self.lora_A.T @ self.lora_B.T * self.lora_scaling
            return self.base_layer(x) + delta

        def merge(self):
            scale = self.lora_scaling * self.lora_strength
            self.base_layer.weight.data += scale * (self.lora_B @ self.lora_A)
            return self.base_layer
    ```

    ## Good

    ```python
    class LoRALinear:
        def __init__(self, base_layer, lora_scaling):
            self.base_layer = base_layer
            self.lora_scaling = lora_scaling
            self.lora_strength = 1.0

        def forward(self, x):
            delta = x @ self.lora_A.T @ self.lora_B.T * self.lora_scaling
            return self.base_layer(x) + delta * self.lora_strength

        def merge(self):
            scale = self.lora_scaling * self.lora_strength
            self.base_layer.weight.data += scale * (self.lora_B @ self.lora_A)
            return self.base_layer
    ```

    ## Fix safety

    Unsafe by definition: the output changes for every strength but 1. Offered where the path is a sum of
    base and delta.

    ## Limits

    Compares the paths of one class family, and only where every branch of both is understood. What one call
    is told (`merge(share=0.5)`) is no strength of the layer, for the other path is not told it.

    ## References

    - FastVideo 0.2.0, `BaseLayerWithLoRA.forward`; repaired in 0.2.1
    """

    code = "LS105"
    name = "strength-on-one-path"
    fix = "sometimes"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Applications without strength beside a sibling of the other kind that has it."""
        # Of some only the length is taken, others are at a strength of 1: it multiplies the change.
        normed = only_normed(ledger) | {item.summed.node for item in renormed(ledger)}
        for family in families(ledger):
            known = [item for item in family.applications if not item.reasons and item.formula != "0"]
            strong = [item for item in known if _strong(ledger, family, item)]
            careful = {item.spot.function for item in strong}  # has it on another branch, or further on
            for application in known:
                beside = (item for item in strong if item.kind != application.kind)
                other = next((o for o in beside if of_one_object(ledger, family, application, o)), None)
                if other is None or application.spot.function in careful or application.kind == "unmerge":
                    continue
                if application.spot.node in normed or any(s.role == STRENGTH for s in _carried(application)):
                    continue  # what a call tells this path may be what the other one remembers
                if all(branch.steps and not branch.scale.powers for branch in application.branches):
                    continue  # the callers in sight made the layer with numbers, so the scale is one
                from lorascale_lint.codemods.multiply_strength import multiply_strength

                yield self.at(
                    application.spot,
                    f"`{application.spot.name}` leaves out the strength of `{other.spot.name}`",
                    effect="2.00x too strong for strength=0.5",
                    trace=[
                        (other.spot, f"the delta is applied at {other.formula} here"),
                        *made_at(ledger, application),
                        (application.spot, f"and at {application.formula} here"),
                    ],
                    fix=multiply_strength(ledger, family, application),
                )


def _carried(application: Application) -> set[Symbol]:
    return {symbol for branch in application.branches for symbol, _ in branch.scale.powers}


def _strong(ledger: Ledger, family: Family, application: Application) -> bool:
    """Does some branch carry a user's strength, or a number that the layer is made with and keeps?

    What a call of this method is told is no strength of the layer: the other path is not told it.
    """
    function = application.spot.function
    told = () if function is None else function.parameters
    carried = _carried(application)
    if any(symbol.role == STRENGTH and symbol.origin not in told for symbol in carried):
        return True
    kept = (kept for field in family.fields if field.role == MULTIPLIER for kept in field.kept)
    numbers = {s for item in kept if item.how == "made" for scale in item.scales for s, _ in scale.powers}
    return any(s.role == MULTIPLIER and s in numbers for s in carried) and not is_folded(ledger, family)
