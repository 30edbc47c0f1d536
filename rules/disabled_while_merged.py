"""LS104: an adapter is switched off while its delta is still in the weight."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.accumulations import accumulations, given_flag
from lorascale_lint.ledger.entries import Store
from lorascale_lint.ledger.families import family_of_class
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.switches import Switch, is_own, switches
from lorascale_lint.provenance.values import Const, Place, Ref
from lorascale_lint.rule import Rule


class DisabledWhileMerged(Rule):
    """Adapter switched off while its delta is still merged

    ## What it finds

    `layer.disable_lora = True` from outside, for a layer class whose `unmerge` does nothing once that
    flag is set: whatever was merged before stays in the weight for good.

    ## Why it is wrong

    Switching from an adapter that has this layer to one that lacks it must give `W`. It gives
    `W + s * B A` of the former adapter: a residual at full strength.

    ## Effect

    Effective scale of the former adapter alpha / rank instead of 0.

    ## Bad

    ```python
    class LoRALinear:
        def __init__(self, base_layer, lora_A, lora_B, lora_scaling):
            self.base_layer = base_layer
            self.lora_A = lora_A
            self.lora_B = lora_B
            self.lora_scaling = lora_scaling
            self.merged = False
            self.disable_lora = False

        def merge_lora(self):
            self.base_layer.weight.data += self.lora_scaling * (self.lora_B @ self.lora_A)
            self.merged = True

        def unmerge_lora(self):
            if self.disable_lora:
                return
            self.base_layer.weight.data -= self.lora_scaling * (self.lora_B @ self.lora_A)
            self.merged = False


    def switch_adapter(layers, adapter):
        for name, layer in layers.items():
            if name not in adapter:
                layer.disable_lora = True
    ```

    ## Good

    ```python
    class LoRALinear:
        def __init__(self, base_layer, lora_A, lora_B, lora_scaling):
            self.base_layer = base_layer
            self.lora_A = lora_A
            self.lora_B = lora_B
            self.lora_scaling = lora_scaling
            self.merged = False
            self.disable_lora = False

        def merge_lora(self):
            self.base_layer.weight.data += self.lora_scaling * (self.lora_B @ self.lora_A)
            self.merged = True

        def unmerge_lora(self):
            if self.disable_lora:
                return
            self.base_layer.weight.data -= self.lora_scaling * (self.lora_B @ self.lora_A)
            self.merged = False


    def switch_adapter(layers, adapter):
        for name, layer in layers.items():
            if name not in adapter:
                if layer.merged:
                    layer.unmerge_lora()
                layer.disable_lora = True
    ```

    ## Fix safety

    Unsafe by definition: the output of such a layer changes (the former adapter leaves it). Where adapters
    can be accumulated, a layer that only the former ones have keeps them, and stays switched on.

    ## Limits

    Knows flags by how the class uses them: one that makes the unmerge return early, one that merge
    sets and unmerge clears. Silent if the same function unmerges, or if any function it calls before does.

    ## References

    - FastVideo 0.1.5 to 0.2.1, `pipelines/lora_pipeline.py`
    """

    code = "LS104"
    name = "disabled-while-merged"
    fix = "sometimes"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Stores of True to a disabling flag of a layer, without an unmerge before."""
        reported: set[object] = set()
        for switch in switches(ledger):
            for store in ledger.stores:
                spot = store.spot
                if spot.span in reported or spot.file.is_test or not _disables(store, switch):
                    continue
                if _unmerges(ledger, store, switch):
                    continue
                reported.add(spot.span)
                yield self._report(ledger, store, switch)

    def _report(self, ledger: Ledger, store: Store, switch: Switch) -> Finding:
        family = family_of_class(ledger, switch.cls)
        kept = next(
            (
                found.condition(given)
                for found in (accumulations(ledger, family) if family is not None else ())
                if (given := given_flag(ledger, found, store.spot.function)) is not None
            ),
            None,
        )
        name = switch.unmerge.name
        from lorascale_lint.codemods.unmerge_before_disable import unmerge_before_disable

        return self.at(
            store.spot,
            f"adapter switched off by `{switch.disabled}` while its delta may still be merged",
            effect="the former adapter stays at its full scale instead of 0",
            trace=[
                (switch.merge.spot, f"the delta is merged, `{switch.merged}` is set"),
                (switch.early_return.spot, f"`{name}` returns early from now on, so the delta stays"),
            ],
            fix=unmerge_before_disable(ledger, store.spot, switch.merged, name, kept),
        )


def _disables(store: Store, switch: Switch) -> bool:
    """Is the flag of such a layer set by other code than its own?"""
    if store.field != switch.disabled or store.value != Const(True) or is_own(store):
        return False
    layer = isinstance(store.owner, Ref) and store.owner.cls is switch.cls
    return layer or isinstance(store.owner, Place)


def _unmerges(ledger: Ledger, store: Store, switch: Switch) -> bool:
    """Does the function call the unmerge, or a pipeline-wide one of that kind?"""
    return any(
        use.spot.function is store.spot.function
        and (use.callee is switch.unmerge or "unmerge" in use.name.lower())
        for use in ledger.uses
    )
