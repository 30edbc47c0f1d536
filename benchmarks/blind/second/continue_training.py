# wrong in line 37: the network is rebuilt with the rank of the file but alpha stays at the default of the constructor
import torch
from torch import nn


class Adapter(nn.Module):
    def __init__(self, name, target, rank=16, alpha=1.0):
        super().__init__()
        self.name = name
        self.rank = rank
        self.alpha = alpha
        self.lora_down = nn.Linear(target.in_features, rank, bias=False)
        self.lora_up = nn.Linear(rank, target.out_features, bias=False)
        nn.init.zeros_(self.lora_up.weight)
        self.inner = target.forward
        target.forward = self.forward

    def forward(self, x):
        return self.inner(x) + self.lora_up(self.lora_down(x)) * (self.alpha / self.rank)


def export(adapters):
    blob = {}
    for ad in adapters:
        blob[f"{ad.name}.lora_down.weight"] = ad.lora_down.weight.detach().cpu()
        blob[f"{ad.name}.lora_up.weight"] = ad.lora_up.weight.detach().cpu()
        blob[f"{ad.name}.alpha"] = torch.tensor(float(ad.alpha))
    return blob


def resume(model, blob):
    adapters = []
    for name, module in model.named_modules():
        down = blob.get(f"{name}.lora_down.weight")
        if down is None or not isinstance(module, nn.Linear):
            continue
        ad = Adapter(name, module, rank=down.shape[0])
        ad.lora_down.weight.data.copy_(down)
        ad.lora_up.weight.data.copy_(blob[f"{name}.lora_up.weight"])
        adapters.append(ad)
    return adapters
