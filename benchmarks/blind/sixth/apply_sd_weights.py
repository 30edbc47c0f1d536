# wrong in line 47: the convolution branch merges with alpha/rank only, the multiplier is left out there
import torch
from torch import nn
import torch.nn.functional as F


def conv_delta(up, down):
    """3x3 down followed by 1x1 up, as one kernel"""
    rank, cin, kh, kw = down.shape
    flat = up.reshape(up.shape[0], rank) @ down.reshape(rank, -1)
    return flat.reshape(up.shape[0], cin, kh, kw)


class Applier:
    def __init__(self, root: nn.Module, prefix="lora_unet"):
        self.table = {}
        for name, mod in root.named_modules():
            if isinstance(mod, (nn.Linear, nn.Conv2d)):
                self.table[f"{prefix}_{name}".replace(".", "_")] = mod

    @torch.no_grad()
    def apply(self, weights, multiplier=1.0):
        seen = set()
        for key in weights:
            stem = key.split(".", 1)[0]
            if stem in seen:
                continue
            seen.add(stem)
            self._one(stem, weights, multiplier)
        return len(seen)

    def _one(self, stem, weights, multiplier):
        mod = self.table[stem]
        up = weights[f"{stem}.lora_up.weight"].float()
        down = weights[f"{stem}.lora_down.weight"].float()
        rank = down.size(0)
        alpha = weights.get(f"{stem}.alpha")
        scale = 1.0 if alpha is None else alpha.item() / rank
        target = mod.weight.data

        if isinstance(mod, nn.Linear):
            target += (multiplier * scale * (up @ down)).to(target)
        elif down.shape[2:] == (1, 1):
            dense = up.flatten(1) @ down.flatten(1)
            target += (multiplier * scale * dense[..., None, None]).to(target)
        else:
            target += (scale * conv_delta(up, down)).to(target)


def smoke():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.Conv2d(6, 4, 1))
    w = {
        "lora_unet_0.lora_down.weight": torch.randn(2, 4, 3, 3),
        "lora_unet_0.lora_up.weight": torch.randn(6, 2, 1, 1),
        "lora_unet_0.alpha": torch.tensor(1.0),
        "lora_unet_1.lora_down.weight": torch.randn(2, 6, 1, 1),
        "lora_unet_1.lora_up.weight": torch.randn(4, 2, 1, 1),
    }
    x = torch.randn(1, 4, 8, 8)
    before = net(x)
    Applier(net).apply(w, 0.5)
    return F.mse_loss(before, net(x)).item()


if __name__ == "__main__":
    print(smoke())
