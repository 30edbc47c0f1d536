"""LS116: the weight that an unmerge puts back is the merged weight itself."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.moved_backups import moved_backups
from lorascale_lint.rule import Rule


class SharedBackup(Rule):
    """Saved weight that is no copy for weights on the CPU

    ## What it finds

    `self.saved = weight.to("cpu")` in a layer whose merge stores its sum in that very parameter, whatever
    device it is on, and whose unmerge puts the saved weight back.

    ## Why it is wrong

    For a weight that lives on the CPU (offloaded, or no accelerator at all), `.to("cpu")` returns the
    weight itself. The merge changes both, the unmerge puts the merged weight back, and the next adapter is
    added to the former one.

    ## Effect

    Effective scale alpha / rank instead of 0 after an unmerge; A, then B gives both.

    ## Bad

    ```python
    class LoRALinear:
        def __init__(self, base_layer, lora_scaling):
            self.base_layer = base_layer
            self.lora_scaling = lora_scaling
            self.cpu_weight = base_layer.weight.to("cpu")

        def set_lora_weights(self, lora_A, lora_B):
            self.lora_A = lora_A
            self.lora_B = lora_B

        def merge(self):
            device = self.base_layer.weight.data.device
            data = self.base_layer.weight.data.to("cuda")
            data += self.lora_scaling * (self.lora_B @ self.lora_A)
            self.base_layer.weight.data = data.to(device)

        def unmerge(self):
            self.base_layer.weight.data = self.cpu_weight.data.to(self.base_layer.weight)
    ```

    ## Good

    ```python
    class LoRALinear:
        def __init__(self, base_layer, lora_scaling):
            self.base_layer = base_layer
            self.lora_scaling = lora_scaling
            self.cpu_weight = base_layer.weight.to("cpu", copy=True)

        def set_lora_weights(self, lora_A, lora_B):
            self.lora_A = lora_A
            self.lora_B = lora_B

        def merge(self):
            device = self.base_layer.weight.data.device
            data = self.base_layer.weight.data.to("cuda")
            data += self.lora_scaling * (self.lora_B @ self.lora_A)
            self.base_layer.weight.data = data.to(device)

        def unmerge(self):
            self.base_layer.weight.data = self.cpu_weight.data.to(self.base_layer.weight, copy=True)
    ```

    ## Fix safety

    Unsafe by definition: unmerging gives another weight on the CPU, and the copy takes memory there.

    ## Limits

    Only where the merge asks for the device of the weight, so that weights of several devices are meant.
    A backup that is no copy on any device is LS109's.

    ## References

    - FastVideo 0.1.2 to 0.2.1, `BaseLayerWithLoRA`; SGLang's copy of that file clones both ways
    """

    code = "LS116"
    name = "shared-backup"
    severity = "warning"
    fix = "sometimes"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """One finding for each weight that is saved by what may give the weight itself."""
        for found in moved_backups(ledger):
            from lorascale_lint.codemods.copy_backup import copy_backup

            yield self.at(
                found.saved,
                "the saved weight is no copy, but the weight itself, for a weight that is on the CPU",
                effect="effective scale alpha / rank instead of 0 after an unmerge there",
                trace=[
                    (found.merge, "the delta is added to the weight of any device"),
                    (found.back[0][0], "what was saved is put back, delta included"),
                ],
                fix=copy_backup(ledger, [found.saved, *(call for _, call in found.back)]),
            )
