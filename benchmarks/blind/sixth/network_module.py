# silent: alpha is a persistent buffer, load_state_dict restores it and the scale is computed from it on every call
import torch
from torch import nn


class LoRAModule(nn.Module):
    def __init__(self, org: nn.Module, dim: int, alpha=None):
        super().__init__()
        alpha = dim if alpha is None or alpha == 0 else alpha
        self.register_buffer("alpha", torch.tensor(float(alpha)))
        if isinstance(org, nn.Conv2d):
            self.lora_down = nn.Conv2d(org.in_channels, dim, org.kernel_size, org.stride, org.padding, bias=False)
            self.lora_up = nn.Conv2d(dim, org.out_channels, 1, bias=False)
        else:
            self.lora_down = nn.Linear(org.in_features, dim, bias=False)
            self.lora_up = nn.Linear(dim, org.out_features, bias=False)
        nn.init.kaiming_uniform_(self.lora_down.weight, a=1)
        nn.init.zeros_(self.lora_up.weight)
        self.org = [org]
        self.org_forward = org.forward
        self.multiplier = 1.0

    @property
    def scale(self):
        return self.alpha / self.lora_down.weight.shape[0]

    def attach(self):
        self.org[0].forward = self.forward
        return self

    def forward(self, x):
        return self.org_forward(x) + self.lora_up(self.lora_down(x)) * (self.multiplier * self.scale)


class Network(nn.Module):
    def __init__(self, root, dim, alpha=None):
        super().__init__()
        self.parts = nn.ModuleDict()
        for name, mod in root.named_modules():
            if isinstance(mod, (nn.Linear, nn.Conv2d)):
                self.parts["lora_unet_" + name.replace(".", "_")] = LoRAModule(mod, dim, alpha).attach()

    def set_multiplier(self, value):
        for part in self.parts.values():
            part.multiplier = value

    def save(self, path):
        torch.save({k.removeprefix("parts."): v for k, v in self.state_dict().items()}, path)

    @classmethod
    def open(cls, root, path):
        state = torch.load(path, map_location="cpu")
        dim = next(v.shape[0] for k, v in state.items() if k.endswith("lora_down.weight"))
        net = cls(root, dim)  # alpha arrives with the buffers below
        net.load_state_dict({f"parts.{k}": v for k, v in state.items()})
        return net
