# wrong in line 47: the layers train a magnitude and the config says use_dora, but export writes only the two factors
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F


class DecomposedLinear(nn.Module):
    def __init__(self, base, r, lora_alpha):
        super().__init__()
        self.base_layer = base.requires_grad_(False)
        self.r, self.lora_alpha = r, lora_alpha
        self.lora_A = nn.Linear(base.in_features, r, bias=False)
        self.lora_B = nn.Linear(r, base.out_features, bias=False)
        nn.init.zeros_(self.lora_B.weight)
        self.magnitude = nn.Parameter(base.weight.detach().norm(dim=1))

    def forward(self, x):
        s = self.lora_alpha / self.r
        w = self.base_layer.weight
        direction = w + s * (self.lora_B.weight @ self.lora_A.weight)
        unit = direction / direction.norm(dim=1, keepdim=True).detach()
        return F.linear(x, self.magnitude.unsqueeze(1) * unit, self.base_layer.bias)


def swap(model, suffixes, r, lora_alpha):
    for name, mod in list(model.named_modules()):
        if isinstance(mod, nn.Linear) and name.endswith(suffixes):
            head, _, tail = name.rpartition(".")
            setattr(model.get_submodule(head), tail, DecomposedLinear(mod, r, lora_alpha))
    return model


def export(model, folder, base_id):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors, sample, suffixes = {}, None, set()
    for name, mod in model.named_modules():
        if not isinstance(mod, DecomposedLinear):
            continue
        sample = mod
        suffixes.add(name.rpartition(".")[2])
        key = f"base_model.model.{name}"
        for part in ("lora_A", "lora_B"):
            tensors[f"{key}.{part}.weight"] = getattr(mod, part).weight.detach().cpu().contiguous()
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_id,
        "r": sample.r,
        "lora_alpha": sample.lora_alpha,
        "use_dora": True,
        "use_rslora": False,
        "target_modules": sorted(suffixes),
        "bias": "none",
    }
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2))
    return folder


def train_and_export(model, batches, base_id, r=16, lora_alpha=32, lr=1e-4, folder="export"):
    model.requires_grad_(False)
    swap(model, ("q_proj", "v_proj", "o_proj"), r, lora_alpha)
    opt = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr)
    for batch in batches:
        loss = model(**batch).loss
        loss.backward()
        opt.step()
        opt.zero_grad()
    return export(model, folder, base_id)
