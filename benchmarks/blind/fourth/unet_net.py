# wrong in line 64: alpha is a float in training (0.5 or 1.5 are usual values here) but is saved cut down to an integer
"""Network module for the SD trainer: wraps attention projections of the UNet."""
import logging
import math
from collections import OrderedDict

import torch
from safetensors.torch import save_file
from torch import nn

logger = logging.getLogger(__name__)


class LoRAModule(nn.Module):
    def __init__(self, name, org: nn.Module, dim: int, alpha: float, multiplier=1.0, dropout=None):
        super().__init__()
        self.name = name
        self.lora_down = nn.Linear(org.in_features, dim, bias=False)
        self.lora_up = nn.Linear(dim, org.out_features, bias=False)
        nn.init.kaiming_uniform_(self.lora_down.weight, a=math.sqrt(5))
        nn.init.zeros_(self.lora_up.weight)
        self.dim = dim
        self.alpha = alpha
        self.scale = alpha / dim
        self.multiplier = multiplier
        self.dropout = dropout
        self.org_forward = org.forward
        org.forward = self.forward

    def forward(self, x):
        h = self.lora_down(x)
        if self.dropout and self.training:
            h = nn.functional.dropout(h, p=self.dropout)
        return self.org_forward(x) + self.lora_up(h) * self.multiplier * self.scale


class LoRANetwork(nn.Module):
    TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
    PREFIX = "lora_unet"

    def __init__(self, unet, dim=8, alpha=1.0, multiplier=1.0):
        super().__init__()
        alpha = float(dim if alpha in (None, 0) else alpha)
        self.dim, self.alpha = dim, alpha
        self.loras = nn.ModuleList()
        for name, module in unet.named_modules():
            if isinstance(module, nn.Linear) and name.endswith(self.TARGETS):
                lora_name = f"{self.PREFIX}_{name}".replace(".", "_")
                self.loras.append(LoRAModule(lora_name, module, dim, alpha, multiplier))
        logger.info("created %d modules, dim %d, alpha %g", len(self.loras), dim, alpha)

    def set_multiplier(self, value):
        for lora in self.loras:
            lora.multiplier = value

    def trainable(self, lr):
        return [{"params": list(self.loras.parameters()), "lr": lr}]

    def save(self, path, dtype=torch.float16, metadata=None):
        out = OrderedDict()
        for lora in self.loras:
            out[f"{lora.name}.lora_down.weight"] = lora.lora_down.weight.detach().cpu().to(dtype).contiguous()
            out[f"{lora.name}.lora_up.weight"] = lora.lora_up.weight.detach().cpu().to(dtype).contiguous()
            out[f"{lora.name}.alpha"] = torch.tensor(int(lora.alpha))
        meta = {k: str(v) for k, v in (metadata or {}).items()}
        meta["ss_network_module"] = "networks.lora"
        meta["ss_network_dim"] = str(self.dim)
        meta["ss_network_alpha"] = str(self.alpha)
        save_file(out, path, metadata=meta)


def create_network(unet, dim, alpha, **kwargs):
    return LoRANetwork(unet, dim=dim or 4, alpha=alpha, multiplier=kwargs.get("multiplier", 1.0))
