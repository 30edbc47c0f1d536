"""LS129: a merge asks a flag whether it has been done, and does not set it."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.unset_flags import unset_flags
from lorascale_lint.rule import Rule


class MergeNotMarked(Rule):
    """Merge that leaves the flag off by which it is undone

    ## What it finds

    A method that writes the delta into the weight where a flag of the layer is off, whose unmerge does
    something only where the flag is on, while no code of the class switches it on.

    ## Why it is wrong

    The layer doesn't know that it is merged: its forward adds the delta again, a second merge puts it into
    the weight once more, and the unmerge does nothing.

    ## Effect

    2.00x too strong after one merge, 3.00x after two, and no way back.

    ## Bad

    ```python
    class LoRALinear:
        def __init__(self, base_layer, lora_A, lora_B, lora_alpha, r):
            self.base_layer, self.lora_A, self.lora_B = base_layer, lora_A, lora_B
            self.scaling = lora_alpha / r
            self.merged = False

        def forward(self, x):
            result = self.base_layer(x)
            if not self.merged:
                result = result + self.lora_B(self.lora_A(x)) * self.scaling
            return result

        def merge(self):
            if not self.merged:
                self.base_layer.weight.data += self.lora_B.weight @ self.lora_A.weight * self.scaling

        def unmerge(self):
            if self.merged:
                self.base_layer.weight.data -= self.lora_B.weight @ self.lora_A.weight * self.scaling
                self.merged = False
    ```

    ## Good

    ```python
    class LoRALinear:
        def __init__(self, base_layer, lora_A, lora_B, lora_alpha, r):
            self.base_layer, self.lora_A, self.lora_B = base_layer, lora_A, lora_B
            self.scaling = lora_alpha / r
            self.merged = False

        def forward(self, x):
            result = self.base_layer(x)
            if not self.merged:
                result = result + self.lora_B(self.lora_A(x)) * self.scaling
            return result

        def merge(self):
            if not self.merged:
                self.base_layer.weight.data += self.lora_B.weight @ self.lora_A.weight * self.scaling
                self.merged = True

        def unmerge(self):
            if self.merged:
                self.base_layer.weight.data -= self.lora_B.weight @ self.lora_A.weight * self.scaling
                self.merged = False
    ```

    ## Fix safety

    No fix: set the flag behind the sum, on each way by which the method merges.

    ## Limits

    Silent where the flag is a property, may be set by its name as a text, or is set from outside; without an
    unmerge in the class that asks the same flag and clears it.

    ## References

    - modelscope/ms-swift `lora_layers.py`, `MergedLinear.merge`
    """

    code = "LS129"
    name = "merge-not-marked"
    fix = "none"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Merges whose flag stays off."""
        for found in unset_flags(ledger):
            yield self.at(
                found.merge.spot,
                f"`{found.merge.spot.name}` merges where `self.{found.flag}` is off, and nothing sets it",
                effect="2.00x too strong after a merge: the forward adds the delta again",
                trace=[
                    (found.merge.spot, f"the delta is added, and `self.{found.flag}` stays off"),
                    (
                        found.reader.spot,
                        f"so that this, where `self.{found.flag}` must be on, is never reached",
                    ),
                ],
            )
