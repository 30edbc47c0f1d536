# silent: alpha/rank is folded into B and the written lora_alpha equals r, so readers multiply by one
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn


class LoRALayer(nn.Module):
    def __init__(self, base, r, alpha, layer_gain=1.0):
        super().__init__()
        self.base = base
        self.r = r
        self.scale = alpha / r * layer_gain
        self.A = nn.Parameter(torch.randn(r, base.in_features) / r)
        self.B = nn.Parameter(torch.zeros(base.out_features, r))

    def forward(self, x):
        return self.base(x) + (x @ self.A.T @ self.B.T) * self.scale


def build(model, r, alpha, gains):
    """gains: {regex-free suffix: multiplier}, e.g. {"up_proj": 0.5}"""
    for name, mod in list(model.named_modules()):
        leaf = name.split(".")[-1]
        if isinstance(mod, nn.Linear) and leaf in gains:
            owner = model.get_submodule(name[: -len(leaf)].rstrip("."))
            setattr(owner, leaf, LoRALayer(mod, r, alpha, gains[leaf]))
    return model


def export(model, folder):
    """The layers have individual scales which one lora_alpha cannot express."""
    tensors, ranks, targets = {}, set(), set()
    for name, mod in model.named_modules():
        if not isinstance(mod, LoRALayer):
            continue
        ranks.add(mod.r)
        targets.add(name.split(".")[-1])
        key = f"base_model.model.{name}"
        tensors[f"{key}.lora_A.weight"] = mod.A.detach().clone()
        tensors[f"{key}.lora_B.weight"] = mod.B.detach() * mod.scale
    (r,) = ranks
    folder = Path(folder)
    folder.mkdir(exist_ok=True, parents=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({
        "peft_type": "LORA",
        "r": r,
        "lora_alpha": r,
        "use_rslora": False,
        "target_modules": sorted(targets),
        "bias": "none",
    }))


if __name__ == "__main__":
    block = nn.ModuleDict({"up_proj": nn.Linear(8, 16), "down_proj": nn.Linear(16, 8)})
    build(block, 4, 8, {"up_proj": 0.5, "down_proj": 1.0})
    export(block, "exported")
