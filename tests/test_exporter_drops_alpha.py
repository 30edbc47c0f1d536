"""LS309 in other spellings, and savers whose alpha is kept or needs no keeping."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

TRAINER = """
import torch
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model
from safetensors.torch import save_file

class LoRATrainer:
    def add_lora_to_model(self, model, lora_rank=4, lora_alpha={default}):
        lora_config = LoraConfig(r=lora_rank, lora_alpha={alpha}, target_modules=["to_q"])
        self.model = {inject}

    def save_lora(self, path):
        {save}
"""
PLAIN = {
    "default": "4",
    "alpha": "lora_alpha",
    "inject": "inject_adapter_in_model(lora_config, model)",
    "save": "save_file(get_peft_model_state_dict(self.model), path)",
}


def trainer(**parts: str) -> str:
    """A class that trains and saves, by the parts that differ."""
    return TRAINER.format(**{**PLAIN, **parts})


FIRING = {
    "save_file": trainer(),
    "torch.save": trainer(save="torch.save(get_peft_model_state_dict(self.model), path)"),
    "diffusers": trainer(
        save="layers = get_peft_model_state_dict(self.model)\n"
        "        FluxPipeline.save_lora_weights(path, transformer_lora_layers=layers)"
    ),
    "an option": trainer(alpha="self.args.lora_alpha"),
    "a hook of a script": """
from peft import LoraConfig, get_peft_model_state_dict

def main(args, accelerator, unet):
    unet.add_adapter(LoraConfig(r=args.rank, lora_alpha=args.lora_alpha))

    def save_model_hook(models, weights, output_dir):
        for model in models:
            layers = get_peft_model_state_dict(model)
            weights.pop()
        LoRAPipeline.save_lora_weights(output_dir, unet_lora_layers=layers)

    accelerator.register_save_state_pre_hook(save_model_hook)
""",
    "a hook of a method": """
import json
from peft import LoraConfig, get_peft_model_state_dict

class Trainer:
    def prepare(self):
        lora_config = LoraConfig(r=self.args.rank, lora_alpha=self.args.lora_alpha)
        self.transformer.add_adapter(lora_config)
        self.register_hooks()

    def register_hooks(self):
        def save_model_hook(models, weights, output_dir):
            layers = None
            for model in models:
                layers = get_peft_model_state_dict(model)
            self.pipeline_cls.save_lora_weights(output_dir, transformer_lora_layers=layers)

        self.accelerator.register_save_state_pre_hook(save_model_hook)

    def train(self):
        print(json.dumps(self.memory_statistics()))
""",
    "a configuration that is kept": """
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import save_file

class Trainer:
    def __init__(self, config):
        self.config = config
        self.adapter = LoraConfig(r=config["rank"], lora_alpha=config["lora_alpha"])

    def prepare(self, model):
        model.add_adapter(self.adapter)

    def save(self, model):
        save_file(get_peft_model_state_dict(model), self.config["output_dir"] + "/lora.safetensors")
""",
    "literals": trainer(alpha="64").replace("r=lora_rank", "r=128"),
    "twice the rank": trainer(alpha="2 * lora_rank"),
    "a selection": trainer(
        save='save_file({k: v for k, v in self.model.state_dict().items() if "lora" in k}, path)'
    ),
    "a helper selects": trainer(save="save_file(self.trained(), path)")
    + """
    def trained(self):
        return {name: p.data for name, p in self.model.named_parameters() if p.requires_grad}
""",
    "a helper saves": trainer(save="write_lora(get_peft_model_state_dict(self.model), path)")
    + """
def write_lora(tensors, path):
    save_file(tensors, path)
""",
}
SILENT = {
    "equal literals": trainer(alpha="64").replace("r=lora_rank", "r=64"),
    "a dumped configuration": trainer(
        save="save_file(get_peft_model_state_dict(self.model), path)\n        self.dump_settings(path)"
    )
    + """
    def dump_settings(self, path):
        with open(path + ".txt", "w") as file:
            file.write(str(self.config))
""",
    "the frozen part too": trainer(
        save='save_file({k: v for k, v in self.model.state_dict().items() if "bias" in k}, path)'
    ),
    "a saver that gets the configuration": trainer(
        save="save_file(get_peft_model_state_dict(self.model), path)\n        publish(path, self.lora_args)"
    ),
    "wrapped, as plausible only": trainer(inject="get_peft_model(model, lora_config)"),
    "alpha is the rank": trainer(alpha="lora_rank"),
    "alpha defaults to the rank": trainer(
        default="None", alpha="lora_rank if lora_alpha is None else lora_alpha"
    ),
    "metadata": trainer(
        save="layers = get_peft_model_state_dict(self.model)\n"
        "        FluxPipeline.save_lora_weights(path, layers, transformer_lora_adapter_metadata=self.meta())"
    ),
    "keywords from elsewhere": trainer(
        save="layers = get_peft_model_state_dict(self.model)\n"
        "        FluxPipeline.save_lora_weights(path, layers, **_collate_lora_metadata({'unet': self.model}))"
    ),
    "a configuration beside": trainer(
        save="save_file(get_peft_model_state_dict(self.model), path)\n"
        "        self.model.peft_config.save_pretrained(path)"
    ),
    "an alpha key": trainer(
        save="state = get_peft_model_state_dict(self.model)\n"
        '        state["alpha"] = torch.tensor(self.lora_alpha)\n'
        "        save_file(state, path)"
    ),
    "a training state": trainer(
        save='torch.save({"model": get_peft_model_state_dict(self.model), "step": self.step}, path)'
    ),
    "the whole model": trainer(save="save_file(self.model.state_dict(), path)"),
    "never injected": trainer(inject="model"),
    "everything but the factors": trainer(
        save='save_file({k: v for k, v in self.model.state_dict().items() if "lora" not in k}, path)'
    ),
    "everything but the factors, by a function": trainer(
        save="save_file({k: v for k, v in self.model.state_dict().items() if not is_factor(k)}, path)"
    )
    + """
def is_factor(key):
    return "lora_" in key
""",
    "loaded at the scale that the file lost": """
from diffusers import FluxPipeline
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import save_file

def main(args, transformer):
    transformer.add_adapter(LoraConfig(r=args.rank, lora_alpha=args.lora_alpha))
    save_file(get_peft_model_state_dict(transformer), args.path)
    pipe = FluxPipeline.from_pretrained(args.base)
    pipe.load_lora_weights(args.path, adapter_name="trained")
    pipe.set_adapters(["trained"], adapter_weights=[args.lora_alpha / args.rank])
""",
}


@pytest.mark.parametrize("name", FIRING)
def test_fires_once(name: str, tmp_path: Path) -> None:
    found = [finding.code for finding in lint_files(tmp_path, {"trainer.py": FIRING[name]})]
    assert found.count("LS309") == 1


@pytest.mark.parametrize("name", SILENT)
def test_silent(name: str, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"trainer.py": SILENT[name]})
    assert not [item for item in found if item.code == "LS309" and item.confidence == "high"]


PICKS = """\
import lightning
import torch
from peft import LoraConfig, inject_adapter_in_model


class AdapterTrainer(lightning.LightningModule):
    def add_adapter(self, lora_rank=4, lora_alpha=4):
        config = LoraConfig(r=lora_rank, lora_alpha=lora_alpha)
        self.model = inject_adapter_in_model(config, self.model)

    def {method}:
{names}
        kept = {{k: v for k, v in self.model.state_dict().items() if k in names}}
        {save}
"""
NAMES = {
    "a comprehension": "        names = {n for n, p in self.model.named_parameters() if p.requires_grad}",
    "a filter": (
        "        found = filter(lambda named: named[1].requires_grad, self.model.named_parameters())\n"
        "        names = set(named[0] for named in list(found))"
    ),
}
HOOK = ("on_save_checkpoint(self, checkpoint)", "checkpoint.clear()\n        checkpoint.update(kept)")
WRITES = ("export(self, path)", "torch.save(kept, path)")


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize(("method", "save"), [HOOK, WRITES])
def test_what_is_trained_is_picked_by_name(names: str, method: str, save: str, tmp_path: Path) -> None:
    source = PICKS.format(names=NAMES[names], method=method, save=save)
    assert [item.code for item in lint_files(tmp_path, {"trainer.py": source})] == ["LS309"]


@pytest.mark.parametrize(
    ("method", "save"),
    [
        # A checkpoint of lightning that goes on has the settings in it.
        (HOOK[0], "checkpoint.update(kept)"),
        (HOOK[0], "checkpoint['lora_alpha'] = self.alpha\n        checkpoint.update(kept)"),
    ],
)
def test_checkpoints_that_tell_their_alpha(method: str, save: str, tmp_path: Path) -> None:
    source = PICKS.format(names=NAMES["a comprehension"], method=method, save=save)
    assert lint_files(tmp_path, {"trainer.py": source}) == ()
