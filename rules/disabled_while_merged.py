"""LS104: an adapter is switched off while its delta is still in the weight."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.codemods.unmerge_before_disable import unmerge_before_disable
from lorascale_lint.facts.terms import Attr, Call, Const, Event, source_text, walk
from lorascale_lint.findings import Finding
from lorascale_lint.model import Implementation, Model
from lorascale_lint.model.accumulated_merges import accumulations, constant_flags, given_flag
from lorascale_lint.model.project import Function, is_receiver, is_test_file
from lorascale_lint.rule import Rule


@dataclass(frozen=True, slots=True, eq=False)
class _Switch:
    """A flag that turns an adapter off, the flag that says it is merged, and the unmerge between."""

    disabled: str
    merged: str
    unmerge: Function
    early_return: Event


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

    def check(self, model: Model) -> Iterator[Finding]:
        """Writes of True to a disabling flag on a layer, without an unmerge before it."""
        for implementation in model.implementations:
            switch = _find_switch(model, implementation)
            if switch is None:
                continue
            merge = next(a for a in implementation.applications if a.kind == "merge")
            for write in model.project.writes(implementation.root, switch.disabled):
                function, event = write.function, write.event
                value = event.value
                if write.on_self or not isinstance(value, Const) or value.value is not True:
                    continue
                if is_test_file(function.filename) or _unmerges(function, switch.unmerge):
                    continue
                unmerge = switch.unmerge
                kept = next(
                    (
                        found.condition(given)
                        for found in accumulations(model, implementation)
                        if (given := given_flag(found, function)) is not None
                    ),
                    None,
                )
                yield self.finding(
                    model,
                    function.filename,
                    event.loc,
                    f"adapter switched off by `{switch.disabled}` while its delta may still be merged",
                    event=event,
                    effect="the former adapter stays at its full scale instead of 0",
                    trace=[
                        (
                            merge.function.filename,
                            merge.loc,
                            f"the delta is merged, `{switch.merged}` is set",
                        ),
                        (
                            unmerge.filename,
                            switch.early_return.loc,
                            f"`{unmerge.facts.name}` returns early from now on, so the delta stays",
                        ),
                    ],
                    fix=unmerge_before_disable(
                        model, function, event, switch.merged, unmerge.facts.name, kept
                    ),
                )


def _find_switch(model: Model, implementation: Implementation) -> _Switch | None:
    merges = [a.function for a in implementation.applications if a.kind == "merge" and a.owner is not None]
    for merge in merges:
        set_flags = constant_flags(merge, True)
        for cls in model.project.family(implementation.root):
            for method in model.project.methods(cls):
                merged = set_flags & constant_flags(method, False)
                if merged and method is not merge:
                    found = _early_return(method, merged)
                    if found is not None:
                        return _Switch(found[0], min(merged), method, found[1])
    return None


def _early_return(method: Function, merged: set[str]) -> tuple[str, Event] | None:
    for event in method.events("return"):
        if len(event.guards) == 1 and event.guards[0].holds:
            test = event.guards[0].test
            if isinstance(test, Attr) and is_receiver(test.base, method) and test.name not in merged:
                return test.name, event
    return None


def _unmerges(function: Function, unmerge: Function) -> bool:
    """Does the function call the unmerge, or a pipeline-wide one of that kind?"""
    return any(
        (isinstance(term, Call) and "unmerge" in source_text(term.func).lower()) or _calls(term, unmerge)
        for event in function.events("call")
        for term in walk(event.value)
    )


def _calls(term: object, unmerge: Function) -> bool:
    return isinstance(term, Call) and isinstance(term.func, Attr) and term.func.name == unmerge.facts.name
