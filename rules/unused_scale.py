"""LS108: a scale or a strength is computed, stored or taken, and never used."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding, Repair
from lorascale_lint.ledger.constant_scales import constant_scales
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.unused_scales import LostScale, lost_scales
from lorascale_lint.rule import Rule


class UnusedScale(Rule):
    """Scale computed, stored or taken, and never used

    ## What it finds

    A function or class that multiplies both factors, knows the scale, and leaves it out: a local
    `scale = alpha / r` that nothing reads, a `self.scaling` that no code reads, a `strength`,
    `multiplier` or `lora_alpha` parameter that is only logged, or not passed on to the function that
    would apply it. Also a scale that is the literal 1 where an alpha was taken beside the rank, looked up in
    the file or kept by the class, and nothing uses it.

    ## Why it is wrong

    The author meant the delta to be scaled, and it is not. A caller who sets the strength sees no
    error and no effect.

    ## Effect

    Effective scale 1 instead of alpha / rank: 2.00x too strong for alpha=64, rank=128.

    ## Bad

    ```python
    def lora_forward(x, base_layer, lora_A, lora_B, lora_alpha):
        scale = lora_alpha / lora_A.shape[0]
        delta = x @ lora_A.T @ lora_B.T
        return base_layer(x) + delta
    ```

    ## Good

    ```python
    def lora_forward(x, base_layer, lora_A, lora_B, lora_alpha):
        scale = lora_alpha / lora_A.shape[0]
        delta = x @ lora_A.T @ lora_B.T
        return base_layer(x) + delta * scale
    ```

    ## Fix safety

    Safe where the scale is alpha / rank: for alpha = rank it is 1. Unsafe for a strength. The delta is
    multiplied wherever it is returned or added to a weight, or the strength is passed on in the call that
    leaves it out. No fix where the delta leaves on a way that is not followed, for an alpha (divide it by the
    rank, and multiply), and for a scale that is the literal 1. Where the factors were folded by hand,
    delete the scale instead.

    ## Limits

    Silent where anything that the function or class computes, or that it calls, has a name that could
    hold a scale; where a factor may have been scaled beforehand; where the attribute is read in any
    file under any object; and for parameters that an interface asks for and nobody uses. A class
    whose delta is added elsewhere is reported with medium confidence only.

    ## References

    - LyCORIS, `DyLoraModule.bypass_forward_diff`: `scale * gamma` is computed and dropped
    - adapter-hub/adapters pull request 770: alpha accepted and not used
    """

    code = "LS108"
    name = "unused-scale"
    fix = "sometimes"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Every scale that reaches no delta."""
        for found in (*lost_scales(ledger), *constant_scales(ledger)):
            yield self.at(
                found.spot,
                found.text,
                confidence=found.confidence,
                effect="effective scale 1 instead of alpha / rank or the strength that was asked for",
                trace=found.trace,
                fix=_repair(ledger, found),
            )


def _repair(ledger: Ledger, found: LostScale) -> Repair | None:
    if found.call is not None:
        spot, name = found.call.spot, found.scalar
        from lorascale_lint.codemods.forward_arguments import forward_arguments

        return forward_arguments(ledger, spot.file.filename, spot.loc, ((name, name),), "unsafe")
    if not found.exits:
        return None
    places = [(leaving.spot, leaving.node, found.scalar) for leaving in found.exits]
    message = f"Multiply the delta by `{found.scalar}`"
    from lorascale_lint.codemods.scale_places import scale_places

    return scale_places(ledger, places, "safe" if found.trained else "unsafe", message)
