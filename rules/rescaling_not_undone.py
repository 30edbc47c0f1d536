"""LS242: a scaling that is multiplied for a while is not divided by the same number again."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.rescalings import not_undone
from lorascale_lint.rule import Rule


class RescalingNotUndone(Rule):
    """Scaling multiplied for a while and not divided again

    ## What it finds

    A function that calls `scale_layer` of PEFT's layers, or `scale_lora_layers` of diffusers, and behind it
    the same once more where the inverse belongs; or the inverse with another number, or with none where it
    then does nothing.

    ## Why it is wrong

    Both multiply the scaling that the layer keeps. What is not divided again stays, and is multiplied once
    more by the next call.

    ## Effect

    strength, strength^2, strength^3 ... times the trained scale from call to call.

    ## Bad

    ```python
    from diffusers.utils import scale_lora_layers, unscale_lora_layers


    def encode(text_encoder, tokens, lora_scale):
        scale_lora_layers(text_encoder, lora_scale)
        hidden = text_encoder(tokens)
        unscale_lora_layers(text_encoder)
        return hidden
    ```

    ## Good

    ```python
    from diffusers.utils import scale_lora_layers, unscale_lora_layers


    def encode(text_encoder, tokens, lora_scale):
        scale_lora_layers(text_encoder, lora_scale)
        hidden = text_encoder(tokens)
        unscale_lora_layers(text_encoder, lora_scale)
        return hidden
    ```

    ## Fix safety

    No fix: call the inverse with the number that was multiplied on, also where the code between raises.

    ## Limits

    Both calls stand in one function.

    ## References

    - peft `tuners/lora/layer.py`, diffusers `utils/peft_utils.py`: `scaling *= scale` and `scaling /= scale`
    """

    code = "LS242"
    name = "rescaling-not-undone"
    fix = "none"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Pairs of calls of which the second does not take the first back."""
        for found in not_undone(ledger):
            yield self.at(
                found.undone.spot,
                _TEXTS[found.how].format(found.undone.name, found.inverse),
                confidence="medium" if found.how == "other" else "high",
                effect="the strength stays in the scaling, and is multiplied on again by the next call",
                trace=[
                    (found.done.spot, "this multiplies the scaling that the layers keep"),
                    (found.undone.spot, _STEPS[found.how]),
                ],
            )


_TEXTS = {
    "again": "`{0}` multiplies the scaling once more where `{1}` belongs",
    "empty": "`{1}` is not told by which number, and does nothing then",
    "other": "`{1}` divides by another number than was multiplied on",
}
_STEPS = {
    "again": "and this does the same again",
    "empty": "without a number this leaves it as it is",
    "other": "and this divides it by another number",
}
