# wrong in line 40: the written config has no lora_alpha, so a reader falls back to its default of 8
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn


class LowRank(nn.Module):
    def __init__(self, inner, r, alpha):
        super().__init__()
        self.inner = inner
        self.r, self.alpha = r, alpha
        self.A = nn.Parameter(torch.randn(r, inner.in_features) / r)
        self.B = nn.Parameter(torch.zeros(inner.out_features, r))

    def forward(self, x):
        return self.inner(x) + (x @ self.A.T @ self.B.T) * (self.alpha / self.r)


def wrap(model, suffixes, r=16, alpha=32):
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and name.endswith(tuple(suffixes)):
            parent = model.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], LowRank(module, r, alpha))
    return model


def save_peft(model, folder, suffixes):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors, layer = {}, None
    for name, layer_ in model.named_modules():
        if isinstance(layer_, LowRank):
            layer = layer_
            tensors[f"base_model.model.{name}.lora_A.weight"] = layer_.A.data.clone()
            tensors[f"base_model.model.{name}.lora_B.weight"] = layer_.B.data.clone()
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": layer.r,
        "lora_dropout": 0.0,
        "target_modules": list(suffixes),
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2))
