"""LS202: alpha and rank are set for training only, and the layers are made with None elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.class_fields import Field
from lorascale_lint.ledger.effect import effect_of
from lorascale_lint.ledger.families import Family
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.unset_alphas import unset_alphas
from lorascale_lint.provenance.scale import ONE
from lorascale_lint.rule import Rule


class AlphaNeverSet(Rule):
    """Layers made with an alpha that only training sets

    ## What it finds

    A pipeline that makes its LoRA layers with `lora_alpha=self.lora_alpha`, where that attribute is
    None by default and is written under one condition only (training), and that applies adapters
    outside that condition as well, through a setter that does not set alpha either.

    ## Why it is wrong

    On the inference path alpha and rank are None from the constructor to the application, so that
    `alpha / rank` can't be formed and the delta is applied at scale 1.

    ## Effect

    Effective scale 1 instead of alpha / rank: 2.00x too strong for alpha=64, rank=128.

    ## Bad

    ```python
    class LoRALinear:
        def __init__(self, base_layer, lora_rank=None, lora_alpha=None):
            self.base_layer = base_layer
            self.lora_rank = lora_rank
            self.lora_alpha = lora_alpha

        @property
        def lora_scale(self):
            if self.lora_alpha is None or self.lora_rank is None:
                return 1.0
            return self.lora_alpha / self.lora_rank

        def set_lora_weights(self, A, B):
            self.lora_A = A
            self.lora_B = B

        def merge(self):
            self.base_layer.weight.data += self.lora_scale * (self.lora_B @ self.lora_A)


    class LoRAPipeline:
        lora_rank = None
        lora_alpha = None

        def __init__(self, model, args):
            self.model = model
            if args.training:
                self.lora_rank = args.lora_rank
                self.lora_alpha = args.lora_alpha
            self.layers = {
                name: LoRALinear(layer, self.lora_rank, self.lora_alpha)
                for name, layer in model.named_modules()
            }

        def set_lora_adapter(self, tensors):
            for name, layer in self.layers.items():
                layer.set_lora_weights(
                    tensors[name + ".lora_A"],
                    tensors[name + ".lora_B"],
                )
    ```

    ## Good

    ```python
    class LoRALinear:
        def __init__(self, base_layer, lora_rank=None, lora_alpha=None):
            self.base_layer = base_layer
            self.lora_rank = lora_rank
            self.lora_alpha = lora_alpha
            self.default_lora_alpha = lora_alpha

        @property
        def lora_scale(self):
            if self.lora_alpha is None or self.lora_rank is None:
                return 1.0
            return self.lora_alpha / self.lora_rank

        def set_lora_weights(self, A, B, lora_alpha=None):
            self.lora_A = A
            self.lora_B = B
            self.lora_rank = A.shape[0]
            self.lora_alpha = self.default_lora_alpha if lora_alpha is None else float(lora_alpha)

        def merge(self):
            self.base_layer.weight.data += self.lora_scale * (self.lora_B @ self.lora_A)


    def get_lora_alpha(adapter, name):
        \"\"\"
        Look up the alpha of one layer of an adapter; without one it is the layer's rank.
        \"\"\"
        rank = adapter[name + ".lora_A"].shape[0]
        for alpha_name in (name + ".lora_alpha", name + ".alpha"):
            if alpha_name in adapter:
                return float(adapter[alpha_name])
        if name + ".alpha_scale" in adapter:  # alpha / rank
            return float(adapter[name + ".alpha_scale"]) * rank
        return rank


    class LoRAPipeline:
        lora_rank = None
        lora_alpha = None

        def __init__(self, model, args):
            self.model = model
            if args.training:
                self.lora_rank = args.lora_rank
                self.lora_alpha = args.lora_alpha
            self.layers = {
                name: LoRALinear(layer, self.lora_rank, self.lora_alpha)
                for name, layer in model.named_modules()
            }

        def set_lora_adapter(self, tensors):
            for name, layer in self.layers.items():
                layer.set_lora_weights(
                    tensors[name + ".lora_A"],
                    tensors[name + ".lora_B"],
                    lora_alpha=get_lora_alpha(tensors, name),
                )
    ```

    ## Fix safety

    Safe: it is the repair of LS203, which lets the setter store alpha and rank, and every loader pass
    them; layers keep the constructor's alpha where nothing is loaded.

    ## Limits

    Looks at attributes of the class that makes the layers; configuration objects are not followed.

    ## References

    - FastVideo 0.1.6, `LoRAPipeline.__init__` sets `lora_rank` and `lora_alpha` under `training_mode`
    """

    code = "LS202"
    name = "alpha-never-set"
    fix = "sometimes"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Calls that make a layer with an alpha attribute that stays None outside one condition."""
        for found in unset_alphas(ledger):
            yield self._report(ledger, found.family, found.argument, found.field)

    def _report(self, ledger: Ledger, family: Family, argument: Spot, field: Field) -> Finding:
        starts = (
            [] if field.unset_by is None else [(field.unset_by.spot, f"`{field.name}` is None by default")]
        )
        sets = []
        for kept in field.conditional:
            asked = [(name.partition("@")[0], holds) for name, holds in kept.conditions]
            tests = [name if holds else f"not {name}" for name, holds in asked]
            sets.append((kept.spot, f"its only value is set under `{' and '.join(tests)}`"))
        applied = [
            (a.spot, f"the layer's `{a.spot.name}` applies the delta at {a.formula}")
            for a in family.applications[:3]
        ]
        from lorascale_lint.codemods.thread_alpha import thread_alpha

        return self.at(
            argument,
            f"LoRA layers are made with `{field.name}`, which stays None unless training sets it",
            effect=effect_of(ONE),
            trace=[*starts, *sets, *applied],
            fix=thread_alpha(ledger, family, family.setters[0]) if len(family.setters) == 1 else None,
        )
