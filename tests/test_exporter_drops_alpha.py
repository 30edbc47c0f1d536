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
}
SILENT = {
    "alpha is the rank": trainer(alpha="lora_rank"),
    "alpha defaults to the rank": trainer(
        default="None", alpha="lora_rank if lora_alpha is None else lora_alpha"
    ),
    "metadata": trainer(
        save="layers = get_peft_model_state_dict(self.model)\n"
        "        FluxPipeline.save_lora_weights(path, layers, transformer_lora_adapter_metadata=self.meta())"
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
}


@pytest.mark.parametrize("name", FIRING)
def test_fires_once(name: str, tmp_path: Path) -> None:
    found = [finding.code for finding in lint_files(tmp_path, {"trainer.py": FIRING[name]})]
    assert found.count("LS309") == 1


@pytest.mark.parametrize("name", SILENT)
def test_silent(name: str, tmp_path: Path) -> None:
    found = [finding.code for finding in lint_files(tmp_path, {"trainer.py": SILENT[name]})]
    assert "LS309" not in found
