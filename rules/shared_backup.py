"""LS116: the weight that an unmerge puts back is the merged weight itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from lorascale_lint.findings import Finding
from lorascale_lint.knowledge.operations import COPY_ARGUMENT, MOVES
from lorascale_lint.ledger.assigned import Written, names_read
from lorascale_lint.ledger.backups import Backup, backups, changed_weight
from lorascale_lint.ledger.entries import Apply
from lorascale_lint.ledger.ledger import Ledger
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
        for backup in backups(ledger):
            (store, source), *others = backup.stores
            back = [(s, call) for s, w in backup.put_back if s.field == "data" and (call := _move(w))]
            call = _move(source, to_cpu=True)
            merge = next((a for a in ledger.applies if _moves_and_stores(ledger, a, backup)), None)
            if others or call is None or not back or merge is None or store.spot.file.is_test:
                continue
            copy = replace(store.spot, node=call)
            from lorascale_lint.codemods.copy_backup import copy_backup

            yield self.at(
                copy,
                "the saved weight is no copy, but the weight itself, for a weight that is on the CPU",
                effect="effective scale alpha / rank instead of 0 after an unmerge there",
                trace=[
                    (merge.spot, "the delta is added to the weight of any device"),
                    (back[0][0].spot, "what was saved is put back, delta included"),
                ],
                fix=copy_backup(ledger, [copy, *(replace(s.spot, node=call) for s, call in back)]),
            )


def _move(source: Written, *, to_cpu: bool = False) -> ast.Call | None:
    """The call that gives the tensor itself if it is where it shall be, and makes no copy else."""
    if len(source.moves) != 1:
        return None
    (call,) = source.moves
    first = call.args[0] if call.args else None
    wanted = MOVES.get(getattr(call.func, "attr", ""))
    if wanted is None or any(given.arg in (COPY_ARGUMENT, None) for given in call.keywords):
        return None
    if to_cpu and not (
        (isinstance(first, ast.Constant) and first.value == wanted) or (first is None and not wanted)
    ):
        return None
    return call


def _moves_and_stores(ledger: Ledger, apply: Apply, backup: Backup) -> bool:
    """Does a merge ask where the weight is, and store the sum in the very same parameter?"""
    function = apply.spot.function
    if apply.kind != "merge" or apply.spot.cls is not backup.cls or function is None:
        return False
    stores = any(
        store.spot.function is function and store.field == "data" and changed_weight(store) == backup.weight
        for store in ledger.stores
    )
    return stores and any(name.endswith("weight.device") for name in names_read(function))
