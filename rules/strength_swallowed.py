"""LS507: a strength is given to a loader that has no such option."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.swallowed_strengths import swallowed_strengths
from lorascale_lint.ledger.unset_strengths import unset_strengths
from lorascale_lint.rule import Rule


class StrengthSwallowed(Rule):
    """Strength given to a loader that has no such option

    ## What it finds

    A call of diffusers' `load_lora_weights` or `load_lora_adapter` with `lora_scale=`, `scale=`, `alpha=`,
    `cross_attention_kwargs=` or another name of a strength. A strength that is read, or taken as a parameter,
    beside such a call and reaches nothing.

    ## Why it is wrong

    These loaders take any keyword and look at those that they know: where the file is, under which name the
    adapter is kept. Nothing reads a strength, and nothing says so.

    ## Effect

    The adapter acts at strength 1, whatever is asked for: 2.00x too strong for strength=0.5.

    ## Bad

    ```python
    from diffusers import FluxPipeline


    def load_lora(pipe: FluxPipeline, path, lora_scale=1.0):
        pipe.load_lora_weights(path, lora_scale=lora_scale)
    ```

    ## Good

    ```python
    from diffusers import FluxPipeline


    def load_lora(pipe: FluxPipeline, path, lora_scale=1.0):
        pipe.load_lora_weights(path, adapter_name="style")
        pipe.set_adapters("style", adapter_weights=lora_scale)
    ```

    ## Fix safety

    No fix: the strength is given to `set_adapters` with the adapter's name, to `fuse_lora(lora_scale=...)`,
    or to the pipeline when it is called; which of them is right depends on how often it changes.

    ## Limits

    Files that import diffusers and in which no class has a method of that name. Silent where the strength is
    1 or goes to another call of the function too, and of a parameter that no call in sight gives;
    `--preview` where another function sets one.

    ## References

    - diffusers `loaders/lora_pipeline.py`, `load_lora_weights(..., **kwargs)`
    - THUDM/CogKit `utils/lora.py`: a strength of its web page that had no effect
    """

    code = "LS507"
    name = "strength-swallowed"
    fix = "none"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Strengths that are given to such loaders, and those that nobody is given beside them."""
        swallowed: set[object] = set()
        for found in swallowed_strengths(ledger):
            swallowed.add(found.use.spot.node)
            called = found.use.called
            yield self.at(
                found.argument,
                f"`{called}` has no option `{found.keyword}`: the strength is swallowed",
                confidence="medium" if found.set_elsewhere else "high",
                effect="the adapter acts at strength 1: 2.00x too strong for strength=0.5",
                trace=[
                    (found.use.spot, f"`{called}` takes any keyword and reads only those that it knows"),
                    (found.argument, f"`{found.keyword}` is none of them"),
                ],
            )
        for unset in unset_strengths(ledger):
            if unset.use.spot.node in swallowed:
                continue
            yield self.at(
                unset.told,
                f"`{unset.name}` is given to nobody: `{unset.use.called}` loads at full strength",
                confidence=unset.confidence,
                effect="2.00x too strong for strength=0.5",
                trace=[
                    (unset.told, f"`{unset.name}` is asked for here, and never used"),
                    (unset.use.spot, "the adapter is loaded, and acts at strength 1"),
                ],
            )
