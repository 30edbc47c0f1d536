"""LS309: a trainer with an alpha of its own saves the factors and nothing that tells the alpha."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.effect import effect_of
from lorascale_lint.facts.terms import Event, Loc
from lorascale_lint.findings import Finding
from lorascale_lint.model import Model
from lorascale_lint.model.project import Function, is_test_file
from lorascale_lint.model.saved_adapters import Training, neighbours, saves_factors, tells_alpha, trainings
from lorascale_lint.model.scale import ONE
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

    Silent where alpha is the rank or defaults to it, where anything on the way of the save speaks of
    alpha or metadata or hands a configuration on, and for adapters that PEFT's `save_pretrained` saves.
    Medium where `get_peft_model` wraps the model: such code often loads with the same configuration.

    ## References

    - diffusers issue 6087: alpha is not saved, and readers assume the rank
    - DiffSynth-Studio commit 540c0369: the trainer's alpha reaches the converter on save
    """

    code = "LS309"
    name = "exporter-drops-alpha"

    def check(self, model: Model) -> Iterator[Finding]:
        """Functions that save factors beside a training whose alpha nothing tells."""
        project = model.project
        seen: set[tuple[str, Loc]] = set()
        for function in model.functions:
            if is_test_file(function.filename):
                continue
            for training in trainings(project, function):
                called = (
                    item for near in neighbours(project, function) for item in project.reachable(near, 1)
                )
                for saver in dict.fromkeys(called):
                    save = saves_factors(project, saver)
                    if save is None or (saver.filename, save.loc) in seen:
                        continue
                    if not tells_alpha(project, training, saver):
                        seen.add((saver.filename, save.loc))
                        yield self._report(model, training, saver, save)

    def _report(self, model: Model, training: Training, saver: Function, save: Event) -> Finding:
        told = "the adapter is trained with this alpha"
        return self.finding(
            model,
            saver.filename,
            save.loc,
            f"`{saver.facts.name}` saves the factors of an adapter without its alpha",
            event=save,
            confidence="medium" if training.wrapped else "high",
            effect=effect_of(ONE),
            trace=(
                (training.function.filename, training.config.loc, told),
                (saver.filename, saver.facts.loc, "nothing in this function writes an alpha"),
                (saver.filename, save.loc, "the factors are saved alone"),
            ),
        )
