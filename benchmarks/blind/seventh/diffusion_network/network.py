# wrong in line 18: LoRAModule takes (name, module, multiplier, dim, alpha), here alpha is passed as the multiplier and the multiplier as alpha
"""Create the network for a model and save it."""
import torch
from torch import nn

from modules import LoRAModule


class LoRANetwork(nn.Module):
    PREFIX = "lora_unet"

    def __init__(self, model, targets, multiplier=1.0, dim=16, alpha=8.0, dropout=0.0):
        super().__init__()
        self.loras = nn.ModuleList()
        for path, module in model.named_modules():
            if isinstance(module, nn.Linear) and any(t in path for t in targets):
                name = f"{self.PREFIX}_{path.replace('.', '_')}"
                self.loras.append(LoRAModule(name, module, alpha, dim, multiplier, dropout))

    def apply_to(self):
        for lora in self.loras:
            lora.apply_to()

    def set_multiplier(self, multiplier):
        for lora in self.loras:
            lora.multiplier = multiplier

    def export(self, dtype=torch.float16):
        out = {}
        for lora in self.loras:
            out[f"{lora.lora_name}.lora_down.weight"] = lora.lora_down.weight.detach().to(dtype)
            out[f"{lora.lora_name}.lora_up.weight"] = lora.lora_up.weight.detach().to(dtype)
            out[f"{lora.lora_name}.alpha"] = lora.alpha.clone()
        return out
