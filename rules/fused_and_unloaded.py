"""LS508: an adapter is fused into the weights, and taken off without being unfused."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.fused_and_unloaded import fused_and_unloaded
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.rule import Rule


class FusedAndUnloaded(Rule):
    """Adapter fused into a pipeline and unloaded without being unfused

    ## What it finds

    A function that fuses an adapter (`fuse_lora`), and its inverse, or the next load in the same place, that
    takes the adapter off with `unload_lora_weights` alone, where nothing in the file calls `unfuse_lora`.

    ## Why it is wrong

    `unload_lora_weights` takes the layers of the adapter away. The delta that was fused stays in the weights
    of the base, and the next adapter is added to it.

    ## Effect

    Each adapter that was ever loaded acts in every later image: the same one, loaded twice, acts at twice its
    strength.

    ## Bad

    ```python
    from diffusers import FluxPipeline


    def load_adapter(pipe: FluxPipeline, path, lora_scale=1.0):
        pipe.load_lora_weights(path)
        pipe.fuse_lora(lora_scale=lora_scale)


    def unload_adapter(pipe: FluxPipeline):
        pipe.unload_lora_weights()
    ```

    ## Good

    ```python
    from diffusers import FluxPipeline


    def load_adapter(pipe: FluxPipeline, path, lora_scale=1.0):
        pipe.load_lora_weights(path)
        pipe.fuse_lora(lora_scale=lora_scale)


    def unload_adapter(pipe: FluxPipeline):
        pipe.unfuse_lora()
        pipe.unload_lora_weights()
    ```

    ## Fix safety

    No fix: `unfuse_lora()` stands before the unload where the adapter is fused on every way that leads there,
    and fails in some versions where it is not.

    ## Limits

    Both calls must be on one receiver in one file that imports diffusers. To fuse and to unload at once,
    before the pipeline is used, is right and not reported; silent where the weights may be put back in
    another way. A pipeline that is given may be another at each call: `--preview`.

    ## References

    - THUDM/CogKit `utils/lora.py`: deltas of each request added up in its server
    - diffusers `loaders/lora_base.py`, `unload_lora_weights`, `unfuse_lora`
    """

    code = "LS508"
    name = "fused-and-unloaded"
    fix = "none"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Unloads that leave a fused delta in the weights."""
        for found in fused_and_unloaded(ledger):
            yield self.at(
                found.unload.spot,
                f"`{found.pipeline}` is unloaded, and the delta that was fused stays in its weights",
                confidence="high" if found.is_certain else "medium",
                effect="the delta of each adapter that was loaded stays: twice the strength after two loads",
                trace=[
                    (found.fuse.spot, "the delta is written into the weights here"),
                    (found.unload.spot, "the layers are taken off, and nothing unfuses the delta"),
                ],
            )
