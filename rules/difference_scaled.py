"""LS127: a raw difference of a weight is multiplied by alpha / rank."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.differences import scaled_differences
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.powers import text_of
from lorascale_lint.rule import Rule


class DifferenceScaled(Rule):
    """Raw difference multiplied by alpha / rank

    ## What it finds

    An entry `.diff`, `.diff_b`, `.w_norm` or `.b_norm` of an adapter, multiplied by alpha / rank before
    it is added to its weight.

    ## Why it is wrong

    Such an entry is the difference itself, trained without a scale: it has no rank. Only the strength that a
    person chooses multiplies it.

    ## Effect

    alpha / rank instead of 1 on norms, biases and full layers: 4.00x too weak for alpha=16, rank=64.

    ## Bad

    ```python
    def patch(weight, sd, name, strength):
        down = sd[f"{name}.lora_down.weight"]
        scale = sd[f"{name}.alpha"].item() / down.shape[0]
        weight += strength * scale * (sd[f"{name}.lora_up.weight"] @ down)
        weight += strength * scale * sd[f"{name}.diff"]
        return weight
    ```

    ## Good

    ```python
    def patch(weight, sd, name, strength):
        down = sd[f"{name}.lora_down.weight"]
        scale = sd[f"{name}.alpha"].item() / down.shape[0]
        weight += strength * scale * (sd[f"{name}.lora_up.weight"] @ down)
        weight += strength * sd[f"{name}.diff"]
        return weight
    ```

    ## Fix safety

    No fix: the same number often serves the factors beside it.

    ## Limits

    Silent where the number is not known to hold alpha, or where it is on one of two ways.

    ## References

    - ComfyUI `comfy/lora.py`: `.diff`, `.diff_b` and `.w_norm` are patches times the strength alone
    """

    code = "LS127"
    name = "difference-scaled"
    fix = "none"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Multiplications of a difference by a trained scale, each once."""
        for step in scaled_differences(ledger):
            yield self.at(
                step.spot,
                f"a raw difference is multiplied by `{text_of(step)}`, which is {step.scale.formula()}",
                confidence="medium",
                effect="alpha / rank instead of 1",
                trace=[(step.spot, "the entry holds the difference itself, and has no rank")],
            )
