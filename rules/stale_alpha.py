"""LS208: the alpha that meets the factors is that of another call, or of another module."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.codemods.always_look_up import always_look_up
from lorascale_lint.findings import Finding
from lorascale_lint.model import Model
from lorascale_lint.model.project import is_test_file
from lorascale_lint.model.stale_values import left_over, only_if_just_loaded
from lorascale_lint.rule import Rule


class StaleAlpha(Rule):
    """Alpha of another call or another module

    ## What it finds

    - Factors that are taken from a store of adapters, and their alpha from the same store only if a local
      flag says that the file was loaded in this call.
    - The alpha of one module, looked up in a loop that has ended, that is multiplied into, or passed with,
      the factors of the modules of another loop.

    ## Why it is wrong

    alpha belongs to the factors of its module. Switching back to a loaded adapter gives its factors and
    no alpha; a file whose modules differ in rank or alpha gets the first module's scale everywhere.

    ## Effect

    Effective scale 1 instead of alpha / rank after a switch; scale of the first module for all others.

    ## Bad

    ```python
    class LoRAPipeline:
        def set_adapter(self, nickname, path=None):
            adapter_updated = False
            if path is not None:
                self.adapters[nickname] = load_file(path)
                adapter_updated = True
            for name, layer in self.lora_layers.items():
                lora_A = self.adapters[nickname][name + ".lora_A"]
                lora_B = self.adapters[nickname][name + ".lora_B"]
                alpha = self.adapters[nickname].get(name + ".lora_alpha") if adapter_updated else None
                layer.set_lora_weights(lora_A, lora_B, lora_alpha=alpha)
    ```

    ## Good

    ```python
    class LoRAPipeline:
        def set_adapter(self, nickname, path=None):
            adapter_updated = False
            if path is not None:
                self.adapters[nickname] = load_file(path)
                adapter_updated = True
            for name, layer in self.lora_layers.items():
                lora_A = self.adapters[nickname][name + ".lora_A"]
                lora_B = self.adapters[nickname][name + ".lora_B"]
                alpha = self.adapters[nickname].get(name + ".lora_alpha")
                layer.set_lora_weights(lora_A, lora_B, lora_alpha=alpha)
    ```

    ## Fix safety

    Safe: alpha is looked up where the factors are, without the condition; a missing alpha and one that
    equals the rank give the same scale. No fix for an alpha of another module: look it up under the key of
    the same module, and divide by the rank of that module's own factor.

    ## Limits

    The flag must be a local that this call sets; any other condition is not reported. The first alpha of
    a file, used for all its modules, is LS307.

    ## References

    - FastVideo, `LoRAPipeline.set_lora_adapter`, repaired in d3a821cd
    """

    code = "LS208"
    name = "stale-alpha"
    fix = "sometimes"

    def check(self, model: Model) -> Iterator[Finding]:
        """Alphas of another call or module, each place once."""
        for function in model.functions:
            if is_test_file(function.filename):
                continue
            seen: set[tuple[int, int]] = set()
            for stale in (*only_if_just_loaded(function), *left_over(function)):
                place = (stale.loc.row, stale.loc.column)
                if place in seen:
                    continue
                seen.add(place)
                yield self.finding(
                    model,
                    stale.steps[0][0],
                    stale.loc,
                    stale.message,
                    event=stale.event,
                    effect=stale.effect,
                    trace=stale.steps,
                    fix=None
                    if stale.looked_up is None
                    else always_look_up(model, function.filename, *stale.looked_up),
                )
