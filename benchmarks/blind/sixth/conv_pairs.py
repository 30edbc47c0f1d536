# silent: up is (out, rank, 1, 1), so up.shape[1] is the rank for linear and convolution alike
import torch
from torch import nn
import torch.nn.functional as F


class Bank:
    def __init__(self, state):
        self.state = state

    def stems(self):
        seen = []
        for key in self.state:
            stem, _, what = key.partition(".")
            if what == "lora_up.weight":
                seen.append(stem)
        return seen

    def gain(self, stem):
        up = self.state[f"{stem}.lora_up.weight"]
        alpha = self.state.get(f"{stem}.alpha")
        return 1.0 if alpha is None else float(alpha) / up.shape[1]

    def kernel(self, stem):
        up = self.state[f"{stem}.lora_up.weight"].float()
        down = self.state[f"{stem}.lora_down.weight"].float()
        if down.dim() == 2:
            return up @ down
        return torch.einsum("or,rikl->oikl", up.flatten(1), down)


class Overlay(nn.Module):
    """Evaluates a host layer together with a frozen residual kernel."""

    def __init__(self, host, kernel):
        super().__init__()
        self.host = host
        self.amount = 1.0
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, x):
        y = self.host(x)
        k = self.amount * self.kernel
        if isinstance(self.host, nn.Conv2d):
            h = self.host
            return y + F.conv2d(x, k, None, h.stride, h.padding, h.dilation, h.groups)
        return y + F.linear(x, k)


def overlay(model, state, amount=1.0):
    bank = Bank(state)
    by_key = {n.replace(".", "_"): n for n, m in model.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d))}
    for stem in bank.stems():
        path = by_key[stem.removeprefix("lora_unet_")]
        head, _, leaf = path.rpartition(".")
        owner = model.get_submodule(head)
        layer = Overlay(getattr(owner, leaf), bank.gain(stem) * bank.kernel(stem))
        layer.amount = amount
        setattr(owner, leaf, layer)
    return model
