"""LS118: a strength reaches a delta twice."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from lorascale_lint.findings import Finding
from lorascale_lint.knowledge.roles import STRENGTH, STRENGTHS
from lorascale_lint.ledger.applications import applications
from lorascale_lint.ledger.effect import effect_of
from lorascale_lint.ledger.given_twice import given_twice, scaled_before, told_twice
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import trained
from lorascale_lint.provenance.scale import Scale, Symbol
from lorascale_lint.rule import Rule


class StrengthSquared(Rule):
    """Strength multiplied onto a delta twice

    ## What it finds

    A delta that one and the same strength multiplies twice on its way to the base: in a helper that
    computes the delta and again where it is merged, on both factors, or in a scale and beside it. One
    number that a call is given as alpha and as the strength, or that a pipeline's adapters are set to and
    scaled by again: `fuse_lora(lora_scale=...)`, `cross_attention_kwargs`. With `--preview`, a record that
    is made of a delta with the strength in it and of that strength, where code multiplies by the record's
    field.

    ## Why it is wrong

    A strength says how much of the adapter a person wants; half of it must give half of the change. Applied
    twice it gives a quarter, and a negative strength acts as a positive one.

    ## Effect

    1.25x too weak at a strength of 0.8; nobody sees it at 1.

    ## Bad

    ```python
    class LoraModule:
        def __init__(self, org_module, lora_down, lora_up, alpha, rank, multiplier=1.0):
            self.org_module = org_module
            self.lora_down = lora_down
            self.lora_up = lora_up
            self.scale = alpha / rank
            self.multiplier = multiplier

        def get_weight(self):
            return self.multiplier * (self.lora_up.weight @ self.lora_down.weight) * self.scale

        def merge(self):
            self.org_module.weight.data += self.multiplier * self.get_weight()
    ```

    ## Good

    ```python
    class LoraModule:
        def __init__(self, org_module, lora_down, lora_up, alpha, rank, multiplier=1.0):
            self.org_module = org_module
            self.lora_down = lora_down
            self.lora_up = lora_up
            self.scale = alpha / rank
            self.multiplier = multiplier

        def get_weight(self):
            return self.multiplier * (self.lora_up.weight @ self.lora_down.weight) * self.scale

        def merge(self):
            self.org_module.weight.data += self.get_weight()
    ```

    ## Fix safety

    No fix: which of the two multiplications has to go is for whoever knows the other callers of the helper.

    ## Limits

    Two different strengths (one for the model, one for an adapter) are no error. A number whose origin is not
    known is never the same as another. With `--preview` only for a number that no name calls a strength,
    beside no trained scale: weights that choose between adapters may be meant twice.

    ## References

    - comfyanonymous/ComfyUI#15584: the multiplier in the difference and in the merge
    """

    code = "LS118"
    name = "strength-squared"
    fix = "none"
    yields_to = ("LS106", "LS114")

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Applications whose known scale holds one strength to the second power or more."""
        for application in applications(ledger):
            for branch in application.branches:
                symbol = None if branch.reasons else _squared(branch.scale)
                if symbol is None:
                    continue
                once = branch.scale * Scale(Fraction(1), ((symbol, Fraction(-1)),))
                last = (step.spot for step in reversed(branch.steps) if symbol in dict(step.scale.powers))
                yield self.at(
                    next(last, application.spot),
                    f"`{symbol.origin}` multiplies the delta twice in `{application.spot.name}`: "
                    f"{branch.scale.formula()}",
                    confidence="high" if symbol.role == STRENGTH or trained(branch.scale) else "medium",
                    effect=effect_of(branch.scale, once),
                    trace=[(application.spot, f"here the delta arrives at scale {branch.scale.formula()}")],
                )
                break
        for before in scaled_before(ledger):
            again = (before.use.spot, "and the library multiplies by it once more")
            if before.again is not None:
                again = (before.again, "and here what was kept beside it is multiplied by it once more")
            yield self.at(
                before.use.spot,
                f"`{before.strength}` is given to `{before.use.name}` with deltas that have it already",
                confidence="high" if before.again is None else "medium",
                effect=f"`{before.strength}` squared",
                trace=[(before.step.spot, f"`{before.strength}` is multiplied onto the delta"), again],
            )
        for told in told_twice(ledger):
            yield self.at(
                told.again.spot,
                f"`{told.again.spot.written}` scales adapters that `{told.first.use.called}` has set to it",
                effect="the strength squared",
                trace=[
                    (told.first.spot, "the layers keep this strength, beside their alpha / rank"),
                    (told.again.spot, "and are multiplied by it once more"),
                ],
            )
        for given in given_twice(ledger):
            yield self.at(
                given.use.spot,
                f"`{given.name}` is given as `{given.alpha}` and as `{given.strength}`",
                effect="strength^2 / rank for a file without alpha",
                trace=[
                    (given.use.spot, f"`{given.alpha}` is divided by the rank"),
                    (given.use.spot, f"and `{given.strength}` is multiplied on beside it"),
                ],
            )


def _squared(scale: Scale) -> Symbol | None:
    return next((s for s, power in scale.powers if s.role in STRENGTHS and power >= 2), None)
