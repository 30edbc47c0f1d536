"""LS304: the tensors of an adapter name are kept when another file is loaded under that name."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.key_traffic import filled_from_files, is_emptied, key_traffic
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.rule import Rule


class StaleAdapterEntries(Rule):
    """Adapter tensors of a former load kept under the same name

    ## What it finds

    A loader that fills `self.adapters[name][key]` from a file and never empties `self.adapters[name]`.

    ## Why it is wrong

    A second file under the same name (an update, or switching A, B, A by path) meets the first one's
    entries: keys that it lacks, its alpha among them, keep the former values, so that the new factors
    are applied at the old `alpha / r`; where the loader insists on fresh keys it raises instead.

    ## Effect

    alpha_old / alpha_new of the trained strength, or an error at the second load.

    ## Bad

    ```python
    from safetensors.torch import load_file


    class LoRAPipeline:
        def load_adapter(self, adapter_name, path):
            tensors = load_file(path)
            for key, tensor in tensors.items():
                self.adapters[adapter_name][key] = tensor
            adapter = self.adapters[adapter_name]
            for name, layer in self.layers.items():
                scale = adapter[name + ".alpha"] / adapter[name + ".lora_A"].shape[0]
                layer.weight.data += scale * (adapter[name + ".lora_B"] @ adapter[name + ".lora_A"])
    ```

    ## Good

    ```python
    from safetensors.torch import load_file


    class LoRAPipeline:
        def load_adapter(self, adapter_name, path):
            tensors = load_file(path)
            self.adapters[adapter_name] = {}
            for key, tensor in tensors.items():
                self.adapters[adapter_name][key] = tensor
            adapter = self.adapters[adapter_name]
            for name, layer in self.layers.items():
                scale = adapter[name + ".alpha"] / adapter[name + ".lora_A"].shape[0]
                layer.weight.data += scale * (adapter[name + ".lora_B"] @ adapter[name + ".lora_A"])
    ```

    ## Fix safety

    Safe: a first load finds the entry empty anyway, and no caller can rely on a second load that
    raised or mixed two files.

    ## Limits

    Looks for the clearing statement in the loader and in what it calls. Loaders that take a name only
    once (by a test on the name itself) are left alone.

    ## References

    - FastVideo 0.1.5 to 0.1.7, `set_lora_adapter`; 0.2.0 empties the entry before it loads
    """

    code = "LS304"
    name = "stale-adapter-entries"
    severity = "warning"
    fix = "sometimes"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Entries of files under ``self.container[name]`` in loaders that never empty it."""
        for traffic in key_traffic(ledger, callees=True):
            for filled in filled_from_files(traffic):
                if filled.once or is_emptied(traffic, filled):
                    continue
                entry = filled.entry.spot.written
                steps = [(filled.opened, "another file may be read here under the same name")]
                if filled.asked is not None:
                    steps.append((filled.asked.spot, "keys that are there already are asked for here"))
                from lorascale_lint.codemods.clear_before_load import clear_before_load

                yield self.at(
                    filled.write.spot,
                    f"entries of an adapter loaded before stay in `{entry}`",
                    effect="a second file under this name fails to load, or keeps the first one's alpha",
                    trace=steps,
                    fix=clear_before_load(ledger, filled.opened, filled.entry.spot),
                )
                break
