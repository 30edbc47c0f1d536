"""LS126: a strength is divided out of a factor, and the new one is not multiplied in."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.taken_out import taken_out
from lorascale_lint.rule import Rule


class StrengthNotPutBack(Rule):
    """Strength divided out of a factor, and the new one not multiplied in

    ## What it finds

    A class that folds a strength into a factor, and a method that divides the factor by the old strength,
    stores a new one, and multiplies nothing by it.

    ## Why it is wrong

    Whoever sets the strength gets 1, whatever is asked for. The next call divides by a strength that is
    not in the factor.

    ## Effect

    2.00x too strong for strength=0.5.

    ## Bad

    ```python
    class LoRAModule:
        def __init__(self, lora_down, lora_up, multiplier=1.0):
            self.lora_down = lora_down
            self.lora_up = lora_up
            self.multiplier = multiplier
            self.lora_up.weight.data *= self.multiplier

        def set_multiplier(self, multiplier):
            self.lora_up.weight.data /= self.multiplier
            self.multiplier = multiplier
    ```

    ## Good

    ```python
    class LoRAModule:
        def __init__(self, lora_down, lora_up, multiplier=1.0):
            self.lora_down = lora_down
            self.lora_up = lora_up
            self.multiplier = multiplier
            self.lora_up.weight.data *= self.multiplier

        def set_multiplier(self, multiplier):
            self.lora_up.weight.data *= multiplier / self.multiplier
            self.multiplier = multiplier
    ```

    ## Fix safety

    No fix: multiply by the new strength behind the division, or do not fold it in at all.

    ## Limits

    Silent where a method that is called from there multiplies a factor by a strength, and where the
    strength is put back to a literal.

    ## References

    - A converter of kohya's networks that was read by hand; an authored example
    """

    code = "LS126"
    name = "strength-not-put-back"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Divisions by a strength that is replaced by one which nothing is multiplied by."""
        for found in taken_out(ledger):
            yield self.at(
                found.out.spot,
                f"`{found.out.spot.name}` takes the old strength out and does not put the new one in",
                effect="strength 1 whatever is asked for",
                trace=[
                    (found.folded.spot, "the strength is folded into the factor"),
                    (found.out.spot, "it is divided out here"),
                    (found.stored.spot, "the new one is stored, and multiplies nothing"),
                ],
            )
