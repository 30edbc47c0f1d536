"""LS106: the trained scale reaches a delta twice."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.combinations import scaled_again
from lorascale_lint.ledger.effect import effect_of
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.powers import doubled, powers_of, text_of, trained_part
from lorascale_lint.provenance.scale import TRAINED
from lorascale_lint.provenance.values import Tensor
from lorascale_lint.rule import Rule


class DoubleScale(Rule):
    """Trained scale multiplied onto a delta twice

    ## What it finds

    A delta that is multiplied by alpha / rank at two places on one path: in a helper, getter or
    property and again by its caller; on the activation between the factors and again on the output;
    on a factor and again on the product; or divided by the rank once more after alpha / rank. What
    `get_delta_weight` of a PEFT layer gives, combined with weights that hold the layer's `scaling` too.

    ## Why it is wrong

    The adapter was trained with the scale once. Twice is its square, and no other path of the
    program (another method, another tool, the trained forward) agrees with it.

    ## Effect

    2.00x too weak for alpha=64, rank=128; 2.00x too strong for alpha=128, rank=64; alpha = rank hides it.

    ## Bad

    ```python
    class LoRALinear:
        def __init__(self, base_layer, lora_A, lora_B, lora_rank, lora_alpha):
            self.base_layer = base_layer
            self.lora_A = lora_A
            self.lora_B = lora_B
            self.scale = lora_alpha / lora_rank

        def delta_weight(self):
            return self.lora_B @ self.lora_A * self.scale

        def forward(self, x):
            return self.base_layer(x) + x @ self.lora_A.T @ self.lora_B.T * self.scale

        def merge(self):
            self.base_layer.weight.data += self.delta_weight() * self.scale
    ```

    ## Good

    ```python
    class LoRALinear:
        def __init__(self, base_layer, lora_A, lora_B, lora_rank, lora_alpha):
            self.base_layer = base_layer
            self.lora_A = lora_A
            self.lora_B = lora_B
            self.scale = lora_alpha / lora_rank

        def delta_weight(self):
            return self.lora_B @ self.lora_A * self.scale

        def forward(self, x):
            return self.base_layer(x) + x @ self.lora_A.T @ self.lora_B.T * self.scale

        def merge(self):
            self.base_layer.weight.data += self.delta_weight()
    ```

    ## Fix safety

    Safe: for alpha = rank both factors are 1. The outer multiplication goes, since other callers may rely
    on the inner one. Unsafe where the rank divides once more: that changes every adapter. An adapter that was
    trained with the doubled scale needs `alpha ** 2 / rank` in its file. `alpha=scale` of `add_` goes
    where the delta has the scale already. No fix where one argument holds the square.

    ## Limits

    Silent where the second factor is a strength, a literal or unknown, and where one of the values that the
    delta or the number may have there has no scale yet: a helper that is told not to scale, a method that
    folds the scale and sets it to 1. A function out of sight that takes factors and their scale counts as
    scaling only if another method of the class uses its result as it is.

    ## References

    - LyCORIS 3.2, `get_diff_weight` of LoHa and LoKr: 0.5 of the trained strength at alpha / rank = 0.5
    - Hu et al., LoRA, section 4.1: the update is scaled by alpha / r, once
    """

    code = "LS106"
    name = "double-scale"
    fix = "sometimes"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Places that multiply a delta by the trained scale, though it has that already."""
        for found in doubled(ledger):
            last, first, name = found.last, found.first, found.last.spot.name
            whole = last.scale if last is first and found.unseen is None else last.scale * first.scale
            assert isinstance(last.before, Tensor)
            told = f"`{text_of(last)}` and `{text_of(first)}`" if last is not first else whole.formula()
            if found.unseen is not None:
                told = f"`{text_of(last)}`, which its factors came with"
            outright = powers_of(last.scale).is_trained and powers_of(first.scale).is_trained
            from lorascale_lint.codemods.drop_factor import drop_trained_scale

            yield self.at(
                last.spot,
                f"trained scale applied twice in `{name}`: {told}",
                effect=effect_of(trained_part(whole)),
                trace=[
                    (first.spot, f"the trained scale `{text_of(first)}` is applied here")
                    if found.unseen is None
                    else (found.unseen, "the trained scale goes, with the factors, out of sight here"),
                    (last.spot, f"and `{text_of(last)}` is multiplied on again here"),
                ],
                fix=None
                if last is first and found.unseen is None
                else drop_trained_scale(
                    ledger,
                    last,
                    "safe" if outright else "unsafe",
                    f"Leave out `{text_of(last)}`, which is multiplied on before",
                ),
            )
        for again in scaled_again(ledger):
            yield self.at(
                again.spot,
                f"`{again.spot.name}` multiplies deltas by the scaling that they hold already",
                effect=effect_of(TRAINED * TRAINED),
                trace=[
                    (again.made, "what a PEFT layer gives as its delta is scaled"),
                    (again.spot, "and the layer's `scaling` is multiplied on here, within the weights"),
                ],
            )
