"""LS408: a DoRA layer is saved or rebuilt without its magnitude."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.immutable import replace
from lorascale_lint.ledger.key_filters import magnitudes_filtered_out
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.lost_magnitudes import lost_magnitudes
from lorascale_lint.ledger.magnitudes import Magnitudes, SavedFactors
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.rule import Rule


class MagnitudeDropped(Rule):
    """DoRA layer saved or rebuilt without its magnitude

    ## What it finds

    A method that gathers both factors of a layer for a file, where the layer has a learned magnitude
    (`dora_scale`, `magnitude`, a trained norm of the base) that is not gathered, or an exporter that does so
    for every such layer of a model; and a factory that makes such a layer from loaded tensors without the
    option that switches the magnitude on. Or a function that keeps those entries of a model's state which are
    called as the factors are (`"lora_A" in key or "lora_B" in key`). And a loader that looks the magnitude of
    a file up under a name which its key never gets, or, with `--preview`, a converter that leaves it behind.

    ## Why it is wrong

    The magnitude is a third of what DoRA trained. Without it the file is a plain LoRA, applied without
    the renormalisation that its factors were trained with.

    ## Effect

    Each row is off by `m / norm(W + s * B @ A)`, without any error.

    ## Bad

    ```python
    class DoRALinear(nn.Module):
        def __init__(self, base_layer, rank):
            self.lora_down = nn.Linear(base_layer.in_features, rank, bias=False)
            self.lora_up = nn.Linear(rank, base_layer.out_features, bias=False)
            self.dora_scale = nn.Parameter(base_layer.weight.norm(dim=1, keepdim=True))

        def adapter_state(self):
            state = {}
            state["lora_up.weight"] = self.lora_up.weight
            state["lora_down.weight"] = self.lora_down.weight
            return state
    ```

    ## Good

    ```python
    class DoRALinear(nn.Module):
        def __init__(self, base_layer, rank):
            self.lora_down = nn.Linear(base_layer.in_features, rank, bias=False)
            self.lora_up = nn.Linear(rank, base_layer.out_features, bias=False)
            self.dora_scale = nn.Parameter(base_layer.weight.norm(dim=1, keepdim=True))

        def adapter_state(self):
            state = {}
            state["dora_scale"] = self.dora_scale
            state["lora_up.weight"] = self.lora_up.weight
            state["lora_down.weight"] = self.lora_down.weight
            return state
    ```

    ## Fix safety

    Unsafe: files get another entry, and readers apply the magnitude. Offered where each entry is written by
    a statement of its own, under the name of its attribute: the magnitude's key is its name then, too. No fix
    for other keys, whose names are a matter of the format, and for layers rebuilt without the option: pass
    whether the file has a magnitude.

    ## Limits

    Needs the class that holds the magnitude among the files given. Silent if the method, or what it
    calls, names DoRA in any way or takes a whole state dictionary.

    ## References

    - LyCORIS 9f6d0b07, `LoConModule.custom_state_dict`; a11764ce, `make_module`
    """

    code = "LS408"
    name = "magnitude-dropped"
    fix = "sometimes"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """One finding for each saver and each construction."""
        magnitudes = Magnitudes(ledger)
        seen: set[object] = set()
        for own, found in ((True, magnitudes.saved_without()), (False, magnitudes.exported_without())):
            for saved in found:
                first = min(saved.writes, key=lambda write: write.spot.row)
                if first.spot.node not in seen:
                    seen.add(first.spot.node)
                    yield self._saved(ledger, saved, first.spot, own)
        for file in lost_magnitudes(ledger):
            yield self.at(
                file.spot,
                f"`{file.spot.name}` takes the factors of a DoRA file and not its magnitude",
                confidence="high" if file.is_certain else "medium",
                trace=file.steps,
            )
        for lost in magnitudes_filtered_out(ledger):
            if lost.write.spot.node not in seen:
                seen.add(lost.write.spot.node)
                yield self.at(
                    lost.write.spot,
                    f"`{lost.write.spot.name}` keeps the factors of `{lost.cls.name}` and not its "
                    f"`{lost.made.field}`",
                    confidence="high" if lost.saved else "medium",
                    trace=[
                        (lost.made.spot, f"`{lost.cls.name}` has a learned magnitude, `{lost.made.field}`"),
                        *((s.spot, f"the filter lets `{s.field}` through") for s in lost.factors.values()),
                        (lost.write.spot, f"no key with `{lost.made.field}` passes its tests"),
                    ],
                )
        for rebuilt in magnitudes.rebuilt_without():
            if rebuilt.use.spot.node not in seen:
                seen.add(rebuilt.use.spot.node)
                declared = replace(
                    rebuilt.made.spot, node=rebuilt.init.argument(rebuilt.flag) or rebuilt.init.node
                )
                yield self.at(
                    rebuilt.use.spot,
                    f"`{rebuilt.use.spot.name}` rebuilds `{rebuilt.cls.name}` from its tensors without "
                    f"`{rebuilt.flag}`, so a DoRA file is applied as plain LoRA",
                    trace=[
                        (
                            rebuilt.made.spot,
                            f"`{rebuilt.cls.name}` has a learned magnitude, `{rebuilt.made.field}`",
                        ),
                        (declared, f"`{rebuilt.flag}` switches it on, off by default"),
                        (rebuilt.use.spot, "the layer is made without it"),
                        (rebuilt.filled, "and filled with loaded tensors"),
                    ],
                )

    def _saved(self, ledger: Ledger, saved: SavedFactors, first: Spot, own: bool) -> Finding:
        from lorascale_lint.codemods.save_magnitude import save_magnitude

        return self.at(
            first,
            f"`{first.name}` saves both factors of `{saved.cls.name}` and not `{saved.made.field}`",
            trace=[
                (saved.made.spot, f"`{saved.cls.name}` has a learned magnitude"),
                (saved.of("A").spot, "one factor is saved"),
                (saved.of("B").spot, "and the other"),
            ],
            fix=save_magnitude(ledger, saved) if own else None,
        )
