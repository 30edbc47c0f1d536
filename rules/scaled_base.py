"""LS110: the trained scale multiplies the base output together with the delta."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lorascale_lint.codemods.scale_delta_alone import scale_delta_alone
from lorascale_lint.facts.terms import Attr, Call, Term, source_text, walk
from lorascale_lint.findings import Finding
from lorascale_lint.model import Model
from lorascale_lint.model.applications import Application
from lorascale_lint.model.multiplications import names_in
from lorascale_lint.model.scale import ALPHA, SCALING
from lorascale_lint.model.scaled_sums import ScaledSum
from lorascale_lint.model.vocabulary import number_role
from lorascale_lint.rule import Rule

_BASE = re.compile(
    r"(?i)^_?(org|orig|original|base|frozen|pretrained|super|linear|wrapped|forward)(_.*)?$|^_?(weight|kernel)$"
)
_LORA = re.compile(r"(?i)lora|adapter|bias|delta|diff|residual")
_LAYERS = re.compile(r"(?i)_?(layer|module|dense|conv\d?d?|fc|proj|to_\w+|\w+_proj)")


class ScaledBase(Rule):
    """Trained scale multiplied onto base and delta together

    ## What it finds

    `(base(x) + delta) * scale` where the scale is alpha / rank: parentheses that close too late, so
    that the frozen layer's own output or weight is scaled with the delta. A stored scale counts if its name
    is an adapter's (`lora_scaling`), or if another method of the class multiplies the delta alone by it.

    ## Why it is wrong

    The adapter's output is `W x + (alpha / r) * B A x`. Here it is `(alpha / r) * (W x + B A x)`: the base
    model changes even while B is still zero, and strength 0 switches the layer off.

    ## Effect

    Base output at 0.50 of its strength for alpha=64, rank=128.

    ## Bad

    ```python
    class LoRALinear:
        def __init__(self, base_layer, lora_A, lora_B, lora_rank, lora_alpha):
            self.base_layer = base_layer
            self.lora_A = lora_A
            self.lora_B = lora_B
            self.scale = lora_alpha / lora_rank

        def forward(self, x):
            return (self.base_layer(x) + x @ self.lora_A.T @ self.lora_B.T) * self.scale
    ```

    ## Good

    ```python
    class LoRALinear:
        def __init__(self, base_layer, lora_A, lora_B, lora_rank, lora_alpha):
            self.base_layer = base_layer
            self.lora_A = lora_A
            self.lora_B = lora_B
            self.scale = lora_alpha / lora_rank

        def forward(self, x):
            return self.base_layer(x) + x @ self.lora_A.T @ self.lora_B.T * self.scale
    ```

    ## Fix safety

    Safe where the trained scale alone is moved, which is 1 for alpha = rank; unsafe where a strength goes
    with it. No fix where dropout or other steps stand around the sum: only a person knows which of them
    the base output should go through.

    ## Limits

    Only a scale computed from alpha counts (attention's own `scaling` does not), and only a base that
    is recognised as one: a base layer, its weight, `super().forward`.

    ## References

    - LyCORIS, `LoConModule.forward` with Tucker decomposition, repaired in e086201
    """

    code = "LS110"
    name = "scaled-base"
    fix = "sometimes"

    def check(self, model: Model) -> Iterator[Finding]:
        """Applications whose sum is multiplied by alpha / rank."""
        for application, scaled in model.scaled_sums.items():
            base = application.base
            if not (scaled.scale.is_trained and _is_of_lora(model, application, scaled)) or base is None:
                continue
            if not (names_in(base, _BASE) or _is_layer_call(base)) or names_in(base, _LORA):
                continue
            function = application.function
            yield self.finding(
                model,
                function.filename,
                scaled.loc,
                f"trained scale multiplies the base output too in `{function.facts.qualname}`",
                event=scaled.event,
                effect="base output at 0.50 of its strength for alpha=64, rank=128",
                trace=[
                    (function.filename, base.loc, f"`{source_text(base)}` comes from the base layer"),
                    (function.filename, application.delta.loc, "the delta is added to it"),
                    (
                        function.filename,
                        scaled.loc,
                        f"`{source_text(scaled.term)}` multiplies the sum of both",
                    ),
                ],
                fix=scale_delta_alone(model, scaled),
            )


def _is_of_lora(model: Model, application: Application, scaled: ScaledSum) -> bool:
    """Is the scale an adapter's: made of alpha, called so, or what a sibling puts on the delta alone?

    Attention has a `self.scaling` too, which multiplies queries that have got their delta.
    """
    if scaled.scale.power(ALPHA):
        return True
    text = source_text(scaled.term)
    if any(isinstance(part, Attr) and number_role(part.name, False) == SCALING for part in walk(scaled.term)):
        return True
    if application.owner is None:
        return False
    return any(
        sibling.owner is application.owner
        and sibling is not application
        and sibling not in model.scaled_sums
        and sibling.is_trained
        and any(source_text(part) == text for part in walk(sibling.delta))
        for sibling in model.applications
    )


def _is_layer_call(base: Term) -> bool:
    """Is the base the output of a layer beside the factors: ``self.layer(x)``, ``attn.to_q(x)``?"""
    return (
        isinstance(base, Call)
        and isinstance(base.func, Attr)
        and _LAYERS.fullmatch(base.func.name) is not None
    )
