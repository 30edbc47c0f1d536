"""LS505: an adapter is loaded and taken off again, and the bare model is saved as the merged one."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.knowledge.interfaces import ADAPTER_STEPS, NO_MODEL, AdapterStep
from lorascale_lint.ledger.entries import Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import looks
from lorascale_lint.rule import Rule


class AdapterThrownAway(Rule):
    """Adapter taken off without being merged, and the model saved

    ## What it finds

    A function that loads an adapter into a model, takes it off again (`unload`, `unload_lora_weights`, layers
    that are put back) and saves the model, with nothing between that merges the adapter.

    ## Why it is wrong

    What is saved is the base model: `unload` gives the layers back as they were. Nobody sees it, for the file
    is complete and loads.

    ## Effect

    No effect of the adapter at all, at any alpha.

    ## Bad

    ```python
    from peft import PeftModel
    from transformers import AutoModelForCausalLM


    def merge(base, adapter, folder):
        model = AutoModelForCausalLM.from_pretrained(base)
        model = PeftModel.from_pretrained(model, adapter)
        model = model.unload()
        model.save_pretrained(folder)
    ```

    ## Good

    ```python
    from peft import PeftModel
    from transformers import AutoModelForCausalLM


    def merge(base, adapter, folder):
        model = AutoModelForCausalLM.from_pretrained(base)
        model = PeftModel.from_pretrained(model, adapter)
        model = model.merge_and_unload()
        model.save_pretrained(folder)
    ```

    ## Fix safety

    No fix: `merge_and_unload` instead of `unload` is right where the base model is not quantised.

    ## Limits

    All of it must be in one function, in this order. Silent if anything there merges, fuses or reads a delta.

    ## References

    - huggingface/trl issue 386: a merge script that put plain layers back without their delta
    - PEFT `LoraModel.unload`, diffusers `unload_lora_weights`
    """

    code = "LS505"
    name = "adapter-thrown-away"
    fix = "none"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Functions that load, take off and save, and merge nothing."""
        for look in looks(ledger, callees=True):
            steps = [(use, step) for use in look.uses if (step := _step(use)) is not None]
            if any(step is AdapterStep.MERGE for _, step in steps):
                continue
            loaded = _next(steps, AdapterStep.LOAD, 0)
            taken = None if loaded is None else _next(steps, AdapterStep.UNLOAD, loaded.spot.row)
            saved = None if taken is None else _next(steps, AdapterStep.SAVE, taken.spot.row)
            if loaded is None or taken is None or saved is None or taken.spot.file.is_test:
                continue
            yield self.at(
                taken.spot,
                f"`{taken.spot.name}` takes the adapter off without merging it, and saves the bare model",
                effect="the adapter has no effect in what is saved",
                trace=[
                    (loaded.spot, "the adapter is loaded"),
                    (taken.spot, "it is taken off, and nothing has merged it"),
                    (saved.spot, "the base model is saved"),
                ],
            )


def _step(use: Use) -> AdapterStep | None:
    head, _, last = use.name.rpartition(".")
    owner = head.rpartition(".")[2]
    if owner in NO_MODEL:
        return None
    return ADAPTER_STEPS.get(f"{owner}.{last}") or (ADAPTER_STEPS.get(last) if use.callee is None else None)


def _next(steps: list[tuple[Use, AdapterStep]], wanted: AdapterStep, row: int) -> Use | None:
    return next((u for u, step in steps if step is wanted and u.spot.row > row and not u.spot.chain), None)
