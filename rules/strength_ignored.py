"""LS117: a function takes the user's strength and applies the delta without it."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.ignored_strengths import ignored_strengths, taken_twice
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.lost_signs import lost_signs
from lorascale_lint.ledger.one_sided_tests import one_sided_tests
from lorascale_lint.rule import Rule


class StrengthIgnored(Rule):
    """Strength taken and not applied

    ## What it finds

    A function that makes or applies a delta and has a parameter for the strength which nothing but a
    test for None or a message ever reads: also `if multiplier is None: multiplier = self.multiplier`
    followed by a product with `self.multiplier`. A function with two strengths, as of the model and of the
    text encoder, that gives one of them twice and the other to nobody. A shortcut for a strength of 1 whose
    test lacks an `abs`, such as `strength - 1 < 1e-5`. With `--preview`, a test that takes a strength of 0
    for 1 (`strength or 1.0`), and one that passes over those below 0 (`if strength <= 0: continue`).

    ## Why it is wrong

    The caller asks for a strength and gets another one, silently.

    ## Effect

    2.00x too strong for strength=0.5 where the delta is applied at full strength.

    ## Bad

    ```python
    class LoRAModule:
        def __init__(self, lora_down, lora_up, lora_alpha, lora_rank, multiplier=1.0):
            self.lora_down = lora_down
            self.lora_up = lora_up
            self.lora_scaling = lora_alpha / lora_rank
            self.multiplier = multiplier

        def get_weight(self, multiplier=None):
            if multiplier is None:
                multiplier = self.multiplier
            return self.multiplier * (self.lora_up.weight @ self.lora_down.weight) * self.lora_scaling

        def merge_to(self, base_layer, multiplier):
            base_layer.weight.data += self.get_weight(multiplier)
    ```

    ## Good

    ```python
    class LoRAModule:
        def __init__(self, lora_down, lora_up, lora_alpha, lora_rank, multiplier=1.0):
            self.lora_down = lora_down
            self.lora_up = lora_up
            self.lora_scaling = lora_alpha / lora_rank
            self.multiplier = multiplier

        def get_weight(self, multiplier=None):
            if multiplier is None:
                multiplier = self.multiplier
            return multiplier * (self.lora_up.weight @ self.lora_down.weight) * self.lora_scaling

        def merge_to(self, base_layer, multiplier):
            base_layer.weight.data += self.get_weight(multiplier)
    ```

    ## Fix safety

    Unsafe: callers who give a strength get it. Offered where the parameter takes the place of an attribute
    if it is None, and the attribute is used behind that all the same. Elsewhere multiply the delta by the
    parameter, or take the parameter away: it may be there for an interface.

    ## Limits

    Only parameters whose name says strength or multiplier, and only where the scale of every delta of
    the function is understood. Where no caller in the given files gives the argument, the finding is
    of medium confidence.

    ## References

    - kohya-ss/sd-scripts `networks/lora_diffusers.py`, `get_weight`, and its copies
    - nunchaku-tech/nunchaku `compose_lora`
    """

    code = "LS117"
    name = "strength-ignored"
    fix = "sometimes"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Functions with a delta whose strength parameter is never applied; tests that take others for 1."""
        for found in ignored_strengths(ledger):
            trace = [(found.declared, f"`{found.name}` is asked for here")]
            if found.caller is not None:
                trace.append((found.caller, "and given here"))
            scale = found.end.scale.formula()
            trace.append((found.end.spot, f"the delta is made at {scale}, without it"))
            outside = found.end.spot.function is not found.function
            from lorascale_lint.codemods.use_parameter import use_parameter

            yield self.at(
                found.declared if outside else found.end.spot,
                f"`{found.function.name}` takes `{found.name}` and never applies it",
                confidence=found.confidence,
                effect="2.00x too strong for strength=0.5",
                trace=trace,
                fix=use_parameter(ledger, found.function, found.name),
            )
        for twice in taken_twice(ledger):
            lost = twice.lost.parameter
            from lorascale_lint.codemods.give_instead import give_instead

            yield self.at(
                twice.second,
                f"`{twice.name}` is given a second time, and `{lost}` to nobody",
                effect="2.00x too strong for strength=0.5",
                trace=[
                    (twice.lost.spot, f"`{lost}` is asked for here"),
                    (twice.first, f"`{twice.name}` is given here already"),
                ],
                fix=give_instead(ledger, twice.second, lost),
            )
        for test in one_sided_tests(ledger):
            others = "smaller" if test.smaller else "larger"
            effect = "2.00x too strong for strength=0.5" if test.smaller else "2.00x too weak for strength=2"
            reached = (
                "so that this is reached for it too" if test.leaves else "so that this is not reached for it"
            )
            yield self.at(
                test.spot,
                f"every `{test.strength}` {others} than 1 is taken for 1",
                effect=effect,
                trace=[
                    (test.spot, f"the difference from 1 is negative for a {others} strength"),
                    (test.then, reached),
                ],
            )
        for lost_sign in lost_signs(ledger):
            name, used = lost_sign.strength, lost_sign.used
            says = "below 0 is passed over" if lost_sign.negative else "of 0 is taken for 1"
            yield self.at(
                lost_sign.ask.spot,
                f"a `{name}` {says}",
                confidence="medium",
                effect="nothing where the delta should be taken away"
                if lost_sign.negative
                else "1 instead of 0",
                trace=[
                    (
                        lost_sign.ask.spot,
                        f"asks for a `{name}` above 0" if lost_sign.negative else "0 is false",
                    ),
                    (
                        used.spot,
                        "reached for no other" if lost_sign.negative else f"`{name}` is left out here",
                    ),
                ],
            )
