"""LS203: a setter takes both factors and cannot be told their alpha."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.codemods.thread_alpha import thread_alpha
from lorascale_lint.effect import effect_of
from lorascale_lint.findings import Finding
from lorascale_lint.model import Model
from lorascale_lint.model.scale import ONE
from lorascale_lint.rule import Rule


class SetterWithoutAlpha(Rule):
    """Setter that takes both factors and no alpha

    ## What it finds

    A method that stores A and B from its parameters in a layer that keeps an alpha, has no parameter
    for alpha or a scaling, and leaves alpha at what the constructor got, which can be None.

    ## Why it is wrong

    alpha belongs to the factors: another adapter has another alpha. A setter that replaces the factors
    alone leaves `alpha / rank` unset, or at the value of a former adapter.

    ## Effect

    Effective scale 1 instead of alpha / rank: 2.00x too strong for alpha=64, rank=128.

    ## Bad

    ```python
    class LoRALinear:
        def __init__(self, base_layer, lora_rank=None, lora_alpha=None):
            self.base_layer = base_layer
            self.lora_rank = lora_rank
            self.lora_alpha = lora_alpha

        @property
        def lora_scale(self):
            if self.lora_alpha is None or self.lora_rank is None:
                return 1.0
            return self.lora_alpha / self.lora_rank

        def set_lora_weights(self, A, B):
            self.lora_A = A
            self.lora_B = B

        def merge(self):
            self.base_layer.weight.data += self.lora_scale * (self.lora_B @ self.lora_A)
    ```

    ## Good

    ```python
    class LoRALinear:
        def __init__(self, base_layer, lora_rank=None, lora_alpha=None):
            self.base_layer = base_layer
            self.lora_rank = lora_rank
            self.lora_alpha = lora_alpha
            self.default_lora_alpha = lora_alpha

        @property
        def lora_scale(self):
            if self.lora_alpha is None or self.lora_rank is None:
                return 1.0
            return self.lora_alpha / self.lora_rank

        def set_lora_weights(self, A, B, lora_alpha=None):
            self.lora_A = A
            self.lora_B = B
            self.lora_rank = A.shape[0]
            self.lora_alpha = self.default_lora_alpha if lora_alpha is None else float(lora_alpha)

        def merge(self):
            self.base_layer.weight.data += self.lora_scale * (self.lora_B @ self.lora_A)
    ```

    ## Fix safety

    Safe: the new parameter comes last and may be left out, which keeps the constructor's alpha. The
    same repair passes alpha from every loader (LS301), and is offered only if it can: each of them has to
    keep the keys of the file.

    ## Limits

    Silent if alpha is required by the constructor, or if any code sets it on the layer directly.
    Subclasses that override the setter are reported without a fix.

    ## References

    - FastVideo 0.1.6, `BaseLayerWithLoRA.set_lora_weights`; repaired by pull request 870
    """

    code = "LS203"
    name = "setter-without-alpha"
    fix = "sometimes"

    def check(self, model: Model) -> Iterator[Finding]:
        """Setters of layers whose alpha can stay None."""
        for implementation in model.implementations:
            alpha = implementation.alpha
            if alpha is None or not alpha.may_be_none or implementation.scaling is not None:
                continue
            for setter in implementation.setters:
                if setter.alpha_parameter is not None or setter.writes_alpha:
                    continue
                function = setter.function
                unset = alpha.unset_by
                steps = [
                    (function.filename, write.event.loc, f"factor {side} is replaced here")
                    for side, write in sorted(setter.factors.items())
                ]
                if unset is not None:
                    steps.append(
                        (unset.filename, unset.loc, f"`{alpha.name}` stays as the constructor left it: None")
                    )
                steps += [
                    (
                        a.function.filename,
                        a.loc,
                        f"`{a.function.facts.name}` applies the factors at {a.formula()}",
                    )
                    for a in implementation.applications[:3]
                ]
                yield self.finding(
                    model,
                    function.filename,
                    function.facts.loc,
                    f"`{function.facts.name}` replaces both factors and cannot be told their alpha",
                    effect=effect_of(ONE),
                    trace=steps,
                    fix=thread_alpha(model, implementation, setter),
                )
