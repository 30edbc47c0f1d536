"""LS410: DoRA's magnitude is divided by the norm of the base weight."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.rule import Rule


class MagnitudeOverBaseNorm(Rule):
    """Magnitude of an adapter divided by the norm of the base weight

    ## What it finds

    A base weight with a delta on it that is multiplied by a magnitude from an adapter over the norm of the
    base weight alone, also where casts, reshapes and functions out of sight stand between.

    ## Why it is wrong

    DoRA trains the length of each row of the adapted weight. Rows are brought to that length by dividing by
    their own norm, the norm of base and delta together; over the norm of the base they keep the length that
    the delta gave them.

    ## Effect

    Rows are too long or too short by the norm of the adapted row over that of the base row.

    ## Bad

    ```python
    import helpers


    def decompose(dora_scale, weight, lora_diff, alpha, strength, function):
        dora_scale = helpers.cast_to_device(dora_scale, weight.device)
        adapted = weight + function(lora_diff * alpha).type(weight.dtype)
        norm = weight.reshape(weight.shape[0], -1).norm(dim=1, keepdim=True)
        adapted *= (dora_scale / norm).type(weight.dtype)
        return weight + strength * (adapted - weight)
    ```

    ## Good

    ```python
    import helpers


    def decompose(dora_scale, weight, lora_diff, alpha, strength, function):
        dora_scale = helpers.cast_to_device(dora_scale, weight.device)
        adapted = weight + function(lora_diff * alpha).type(weight.dtype)
        norm = adapted.reshape(adapted.shape[0], -1).norm(dim=1, keepdim=True)
        adapted *= (dora_scale / norm).type(weight.dtype)
        return weight + strength * (adapted - weight)
    ```

    ## Fix safety

    No fix: take the norm of the sum, over all axes but the one that the magnitude has.

    ## Limits

    A magnitude that the project makes itself is trained under the same norm as it is used with: another
    design, and no finding.

    ## References

    - comfyanonymous/ComfyUI#15458
    - Liu et al., DoRA: Weight-Decomposed Low-Rank Adaptation, equation 5
    """

    code = "LS410"
    name = "magnitude-over-base-norm"
    fix = "none"
    yields_to = ("LS405",)

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Adapted weights that are brought to a magnitude from outside over the norm of the base."""
        norms = {
            (norm.spot.function, norm.spot.chain): norm.spot for norm in ledger.norms if norm.of == "base"
        }
        right = {entry.spot.node for entry in ledger.rescales if entry.norm_of == "adapted"}  # on another way
        for entry in ledger.rescales:
            if entry.spot.node in right or entry.norm_of != "base":
                continue
            if entry.value.kind == "adapted" and not entry.magnitude.learned:
                yield self.at(
                    norms.get((entry.spot.function, entry.spot.chain), entry.spot),
                    f"the magnitude `{entry.magnitude.origin}` is divided by the norm of the base weight in "
                    f"`{entry.spot.name}`, not of the adapted one",
                    trace=[(entry.spot, "what is multiplied here is base and delta; the norm is the base's")],
                )
