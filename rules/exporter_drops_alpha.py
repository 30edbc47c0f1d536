"""LS309: a trainer with an alpha of its own saves the factors and nothing that tells the alpha."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.effect import effect_of
from lorascale_lint.ledger.key_filters import alphas_filtered_out
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.trained_adapters import saved_alone
from lorascale_lint.provenance.scale import ONE
from lorascale_lint.rule import Rule


class ExporterDropsAlpha(Rule):
    """Trainer that saves the factors without its alpha

    ## What it finds

    A class or script that puts an adapter into a model with `r` and an independent `lora_alpha`, and
    a function beside it that saves the trained factors alone: no alpha, metadata or configuration is
    written on that path or anywhere in the class.

    ## Why it is wrong

    The file does not state the trained scale. Every reader takes alpha = rank, or its own default.

    ## Effect

    Effective scale 1 instead of alpha / rank: 2.00x too strong for alpha=64, rank=128.

    ## Bad

    ```python
    from peft import LoraConfig, inject_adapter_in_model
    from safetensors.torch import save_file


    class LoRATrainer:
        def add_lora_to_model(self, model, lora_rank=4, lora_alpha=4):
            lora_config = LoraConfig(r=lora_rank, lora_alpha=lora_alpha, target_modules=["to_q", "to_v"])
            self.model = inject_adapter_in_model(lora_config, model)

        def save_lora(self, path):
            trainable = {name for name, param in self.model.named_parameters() if param.requires_grad}
            lora_state_dict = {}
            for name, param in self.model.state_dict().items():
                if name in trainable:
                    lora_state_dict[name] = param
            save_file(lora_state_dict, path)
    ```

    ## Good

    ```python
    from peft import LoraConfig, inject_adapter_in_model
    from safetensors.torch import save_file


    class LoRATrainer:
        def add_lora_to_model(self, model, lora_rank=4, lora_alpha=4):
            lora_config = LoraConfig(r=lora_rank, lora_alpha=lora_alpha, target_modules=["to_q", "to_v"])
            self.lora_alpha = lora_alpha
            self.model = inject_adapter_in_model(lora_config, model)

        def save_lora(self, path):
            trainable = {name for name, param in self.model.named_parameters() if param.requires_grad}
            lora_state_dict = {}
            for name, param in self.model.state_dict().items():
                if name in trainable:
                    lora_state_dict[name] = param
            save_file(lora_state_dict, path, metadata={"lora_alpha": str(self.lora_alpha)})
    ```

    ## Fix safety

    No fix: readers differ in where they look. Write `.alpha` keys for kohya's readers, the metadata
    `lora_adapter_metadata` for diffusers, or an `adapter_config.json` for PEFT.

    ## Limits

    Of medium confidence: such code often loads with the same configuration, or with alpha / rank as the
    weight. Silent where alpha is the rank, or is it by default, where anything on the way of the save speaks
    of alpha or metadata or hands a configuration on, and for adapters that PEFT's `save_pretrained` saves.

    ## References

    - diffusers issue 6087: alpha is not saved, and readers assume the rank
    - DiffSynth-Studio commit 540c0369: the trainer's alpha reaches the converter on save
    """

    code = "LS309"
    name = "exporter-drops-alpha"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Calls that save factors beside a training whose alpha nothing tells."""
        for lost in alphas_filtered_out(ledger):
            yield self.at(
                lost.write.spot,
                f"this keeps the factors of `{lost.cls.name}` and leaves its `{lost.made.field}` behind",
                confidence="medium",
                effect=effect_of(ONE),
                trace=[
                    (lost.made.spot, f"`{lost.made.field}` is in the state of the layer, for the file"),
                    (lost.write.spot, "no key of it passes here"),
                ],
            )
        for training, save in saved_alone(ledger):
            yield self.at(
                save.spot,
                f"`{save.spot.name}` saves the factors of an adapter without its alpha",
                confidence="medium",
                effect=effect_of(ONE),
                trace=[
                    (training.spot, "the adapter is trained with this alpha"),
                    (save.spot, "the factors are saved alone, and nothing beside them tells an alpha"),
                ],
            )
