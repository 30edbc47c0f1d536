"""LS225: the configuration of one adapter is given to another one, and then changed."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.shared_configurations import shared_configurations
from lorascale_lint.rule import Rule


class ConfigurationShared(Rule):
    """Configuration of one adapter given to another one without a copy, and changed

    ## What it finds

    A table of configurations whose entry is put under a second key as it is, and alpha or the rank set on
    it: both adapters have that object.

    ## Why it is wrong

    The first adapter was trained with its own alpha. After the change it is saved, reloaded and rescaled
    with that of the second.

    ## Effect

    2.00x too strong after saving for alpha=64, rank=128, where the second adapter gets alpha = rank.

    ## Bad

    ```python
    class LoraModel:
        def combine(self, adapters, name):
            self.lora_configs[name] = self.lora_configs[adapters[0]]
            self.lora_configs[name].lora_alpha = self.lora_configs[name].r
    ```

    ## Good

    ```python
    class LoraModel:
        def combine(self, adapters, name):
            self.lora_configs[name] = copy.copy(self.lora_configs[adapters[0]])
            self.lora_configs[name].lora_alpha = self.lora_configs[name].r
    ```

    ## Fix safety

    No fix: whether a shallow copy is enough depends on the class. Copy the entry before it is changed.

    ## Limits

    Only tables whose name says that they hold configurations, and only within one function.

    ## References

    - PEFT 0.4 `add_weighted_adapter`, repaired with `dataclasses.replace`
    """

    code = "LS225"
    name = "configuration-shared"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Fields of alpha and rank that are set on an object which two keys of a table hold."""
        for found in shared_configurations(ledger):
            yield self.at(
                found.changed,
                f"`{found.field}` is set on `{found.source}`, too, which is another adapter's configuration",
                effect="the other adapter is saved and rescaled with this alpha or rank",
                trace=[
                    (found.shared, "both keys hold one object from here on"),
                    (found.changed, "and it is changed for both"),
                ],
            )
