"""LS203: a setter takes both factors and cannot be told their alpha."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.knowledge.roles import ALPHA, MULTIPLIER, SCALING, role_of
from lorascale_lint.ledger.effect import effect_of
from lorascale_lint.ledger.factor_setters import Setter
from lorascale_lint.ledger.families import families
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import name_spot
from lorascale_lint.provenance.scale import ONE
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

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Setters of layers whose alpha can stay None."""
        for family in families(ledger):
            alpha = family.field(ALPHA)
            if alpha is None or alpha.unset_by is None or family.scaling is not None:
                continue
            for setter in family.setters:
                if _is_told(ledger, setter):
                    continue
                name = setter.function.name
                from lorascale_lint.codemods.thread_alpha import thread_alpha

                yield self.at(
                    name_spot(setter.function),
                    f"`{name}` replaces both factors and cannot be told their alpha",
                    effect=effect_of(ONE),
                    trace=[
                        *(
                            (s.spot, f"factor {side} is replaced here")
                            for side, s in sorted(setter.factors.items())
                        ),
                        (alpha.unset_by.spot, f"`{alpha.name}` stays as the constructor left it: None"),
                        *(
                            (a.spot, f"`{a.spot.name}` applies the factors at {a.formula}")
                            for a in family.applications[:3]
                        ),
                    ],
                    fix=thread_alpha(ledger, family, setter),
                )


def _is_told(ledger: Ledger, setter: Setter) -> bool:
    """Has the setter a parameter for a scale, or does it set one by itself?"""
    roles = {role_of(name, True) for name in setter.function.parameters}
    stored = {role_of(s.field, True) for s in ledger.stores if s.spot.function is setter.function}
    return bool(roles & {ALPHA, SCALING, MULTIPLIER} or stored & {ALPHA, SCALING})
