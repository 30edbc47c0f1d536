# wrong in line 26: alpha / rank is used in training, only factors saved; load takes scale 1
import torch
import torch.nn as nn
from safetensors.torch import save_file, load_file


class LoRA(nn.Module):
    def __init__(self, base, r, alpha):
        super().__init__()
        self.base = base
        self.A = nn.Parameter(torch.randn(r, base.in_features) * 0.01)
        self.B = nn.Parameter(torch.zeros(base.out_features, r))
        self.scale = alpha / r

    def forward(self, x):
        return self.base(x) + (x @ self.A.T @ self.B.T) * self.scale


def inject(model, r=16, alpha=32):
    for name, child in list(model.named_children()):
        if isinstance(child, nn.Linear):
            setattr(model, name, LoRA(child, r, alpha))


def save(model, path):
    save_file({k: v for k, v in model.state_dict().items() if k.endswith((".A", ".B"))}, path)


def merge_into(base_state, path):
    lora = load_file(path)
    for key in lora:
        if key.endswith(".A"):
            stem = key[:-2]
            base_state[stem + ".base.weight"] += lora[stem + ".B"] @ lora[key]
    return base_state
