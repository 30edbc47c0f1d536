"""LS130: a loop over modules multiplies one number on from module to module."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.growing import growing, grown_factors
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.rule import Rule


class ScaleGrowsInLoop(Rule):
    """A scale that a loop multiplies on from module to module

    ## What it finds

    A name that is set before a loop, and that each round multiplies by what belongs to its module (alpha
    / rank, the weight of its block), or divides by its rank, before it scales the delta of that module: the
    second module gets the product of both, the tenth that of ten. And a factor from before a loop that each
    round multiplies by a scale.

    ## Why it is wrong

    Each module is trained with its own scale. What was multiplied on for one module stays in the name for
    the next.

    ## Effect

    With alpha / rank = 0.5 the first module is right, and the tenth 512 times too weak. Tests with one
    module, and files with alpha = rank, don't show it.

    ## Bad

    ```python
    def merge(weights, lora, strength):
        scale = strength
        for name in weights:
            down, up = lora[f"{name}.lora_down.weight"], lora[f"{name}.lora_up.weight"]
            scale *= lora[f"{name}.alpha"] / down.shape[0]
            weights[name] += scale * up @ down
    ```

    ## Good

    ```python
    def merge(weights, lora, strength):
        for name in weights:
            down, up = lora[f"{name}.lora_down.weight"], lora[f"{name}.lora_up.weight"]
            scale = strength * lora[f"{name}.alpha"] / down.shape[0]
            weights[name] += scale * up @ down
    ```

    ## Fix safety

    No fix: give the product a name of its own within the loop.

    ## Limits

    A number that is the same for each module, such as a decay from step to step, is shown with `--preview`
    only. One by which a literal multiplies is no finding. One that is multiplied behind the place where the
    delta is scaled is not found.

    ## References

    - Hu et al., LoRA, section 4.1: the update of each module is scaled by alpha / r, once
    """

    code = "LS130"
    name = "scale-grows-in-loop"
    fix = "none"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Deltas whose scale in a later round holds that of the rounds before."""
        for found in growing(ledger):
            spot = found.used.spot if found.made is None else found.made.spot
            name = "the scale" if found.made is None else f"`{found.made.name}`"
            yield self.at(
                spot,
                f"{name} in `{spot.name}` is multiplied on from module to module",
                confidence="high" if found.is_sure else "medium",
                effect="the first module is right, each further one gets the numbers of all before it, too",
                trace=[
                    (spot, f"{name} is multiplied here, and keeps that for the next round"),
                    (found.used.spot, "where the delta of the next module gets all of it"),
                ],
            )
        for name, step in grown_factors(ledger):
            yield self.at(
                step.spot,
                f"`{name}` in `{step.spot.name}` is multiplied by its scale in each round of a loop",
                effect="the first round is right, each further one multiplies once more",
                trace=[(step.spot, f"`{name}` is older than the loop, and keeps this for the next round")],
            )
