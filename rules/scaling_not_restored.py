"""LS224: scale_x and unscale_x overwrite a stored scaling, and forget what it was."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.shared_tables import shared_tables
from lorascale_lint.ledger.stored_scalings import forgotten, reset_for_a_while
from lorascale_lint.rule import Rule


class ScalingNotRestored(Rule):
    """Pair of methods that rescale and forget the scaling that was stored

    ## What it finds

    A method that stores what it is given times alpha / rank, and the method of that name with `un` in
    front, which stores alpha / rank. A function that multiplies a scaling for a while and stores alpha / rank
    behind that. Also a layer's table of scalings that is kept without a copy, changed, and put back.

    ## Why it is wrong

    What the pair finds may be more than alpha / rank: the weight of an adapter, set before. The first
    loses it for the time between, the second for good. State is undone by what did it: multiply, and
    divide by the same number.

    ## Effect

    An adapter with the weight 0.5 runs at 1.0 after the first pair of calls: 2.00x too strong.

    ## Bad

    ```python
    class LoraLayer:
        def add_adapter(self, name, lora_r, lora_alpha):
            self.lora_r[name], self.lora_alpha[name] = lora_r, lora_alpha
            self.scaling[name] = lora_alpha / lora_r

        def scale_layer(self, scale):
            for name in self.active:
                self.scaling[name] = (self.lora_alpha[name] / self.lora_r[name]) * scale

        def unscale_layer(self):
            for name in self.active:
                self.scaling[name] = self.lora_alpha[name] / self.lora_r[name]
    ```

    ## Good

    ```python
    class LoraLayer:
        def add_adapter(self, name, lora_r, lora_alpha):
            self.lora_r[name], self.lora_alpha[name] = lora_r, lora_alpha
            self.scaling[name] = lora_alpha / lora_r

        def scale_layer(self, scale):
            for name in self.active:
                self.scaling[name] *= scale

        def unscale_layer(self, scale):
            for name in self.active:
                self.scaling[name] /= scale
    ```

    ## Fix safety

    No fix: callers of the second method must give the number.

    ## Limits

    A pair is of medium confidence: nothing in the class shows that somebody sets a weight beside it.

    ## References

    - PEFT 0.6 `LoraLayer.scale_layer`, repaired in pull request 1106
    """

    code = "LS224"
    name = "scaling-not-restored"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Pairs of methods that store a scaling without regard to what is there, and tables kept uncopied."""
        for shared in shared_tables(ledger):
            yield self.at(
                shared.saved,
                "the table of scalings is kept and not copied: what changes it changes what is kept",
                effect="the strength stays as it was set for a while",
                trace=[
                    (shared.changed, "an entry of the same table is set"),
                    (shared.back, "and the table, with this entry, takes its own place"),
                ],
            )
        for changed, reset in reset_for_a_while(ledger):
            yield self.at(
                reset,
                f"`{reset.name}` puts alpha / rank in the place of what the scaling was before",
                confidence="medium",
                effect="a strength of 0.5 that was set before becomes 1",
                trace=[
                    (changed, "the scaling that is stored is multiplied for a while"),
                    (reset, "behind it alpha / rank is stored, whatever it was before"),
                ],
            )
        for made, undo, first in forgotten(ledger):
            yield self.at(
                made.spot,
                f"`{made.function.qualname}` overwrites `{made.field}`, and `{undo.function.name}` resets it",
                confidence="medium",
                effect="a strength of 0.5 that was set before becomes 1",
                trace=[
                    (first.spot, "the scaling is stored here first"),
                    (made.spot, "what it holds is replaced, and not multiplied"),
                    (undo.spot, "and put back to alpha / rank, whatever it was"),
                ],
            )
