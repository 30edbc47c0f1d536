"""LS506: a strength is given to a pipeline after its adapters were fused into the weights."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.fused import strengths_of_fused
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.rule import Rule


class StrengthAfterFuse(Rule):
    """Strength given to adapters that are fused already

    ## What it finds

    After `fuse_lora()`, without an `unfuse_lora()` or a newly loaded adapter between: a scale in
    `cross_attention_kwargs` or `joint_attention_kwargs` of a call, `set_adapters(..., adapter_weights=...)`,
    and, in a loop, the next `fuse_lora(lora_scale=...)`.

    ## Why it is wrong

    `fuse_lora` adds the deltas to the weights, at the strength 1 unless `lora_scale` says another. The layers
    are merged then and use their weights alone: whatever strength is set afterwards has no effect, and
    adapters that are merged are not merged again.

    ## Effect

    Strength 1 instead of the one that is given; in a sweep, the first strength in all rounds.

    ## Bad

    ```python
    from diffusers import StableDiffusionXLPipeline


    def draw(base, path, prompt, strength):
        pipe = StableDiffusionXLPipeline.from_pretrained(base)
        pipe.load_lora_weights(path)
        pipe.fuse_lora()
        return pipe(prompt, cross_attention_kwargs={"scale": strength}).images[0]
    ```

    ## Good

    ```python
    from diffusers import StableDiffusionXLPipeline


    def draw(base, path, prompt, strength):
        pipe = StableDiffusionXLPipeline.from_pretrained(base)
        pipe.load_lora_weights(path)
        pipe.fuse_lora(lora_scale=strength)
        return pipe(prompt).images[0]
    ```

    ## Fix safety

    No fix: the strength may be known only where it is too late; then the adapters should not be fused.

    ## Limits

    Silent where the same strength was fused, where some adapters or components are fused by name, and where
    two pipelines have one name.

    ## References

    - diffusers `LoraBaseMixin.fuse_lora`, and `BaseTunerLayer.merge` of PEFT, which skips what is merged
    """

    code = "LS506"
    name = "strength-after-fuse"
    fix = "none"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Strengths of calls that come after the fusion."""
        for late in strengths_of_fused(ledger):
            again = "and in the next round they are merged already, and are not merged again"
            yield self.at(
                late.spot,
                "a strength is given to adapters that are fused already, and has no effect",
                effect="the strength with which they were fused first, whatever is given here",
                trace=[
                    (late.fuse.spot, "the adapters are added to the weights here"),
                    (late.spot, again if late.is_repeated else "and this is multiplied onto nothing"),
                ],
            )
