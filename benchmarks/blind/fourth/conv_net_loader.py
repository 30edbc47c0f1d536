# wrong in line 24: the rank is read off dimension 0 of the up weight, which is the number of output channels
"""Hot loader for image LoRAs with convolution modules (LoCon layout)."""
import logging
from dataclasses import dataclass
from typing import Optional

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

log = logging.getLogger("nets")


@dataclass
class NetModule:
    down: torch.Tensor
    up: torch.Tensor
    mid: Optional[torch.Tensor] = None
    alpha: Optional[float] = None

    @property
    def dim(self):
        return self.up.shape[0]

    @property
    def scale(self):
        if self.alpha is None:
            return 1.0
        return self.alpha / self.dim

    def apply(self, x, layer):
        if isinstance(layer, nn.Linear):
            return F.linear(F.linear(x, self.down), self.up) * self.scale
        if self.mid is None:
            h = F.conv2d(x, self.down, stride=layer.stride, padding=layer.padding)
        else:
            h = F.conv2d(x, self.down)
            h = F.conv2d(h, self.mid, stride=layer.stride, padding=layer.padding)
        return F.conv2d(h, self.up) * self.scale


class Net:
    def __init__(self, name, path):
        self.name = name
        self.modules = {}
        raw = {}
        for key, tensor in load_file(path).items():
            module, _, field = key.partition(".")
            raw.setdefault(module, {})[field] = tensor
        for module, fields in raw.items():
            if "lora_down.weight" not in fields:
                log.debug("%s: no lora weights in %s", name, module)
                continue
            mid = fields.get("lora_mid.weight")
            alpha = fields.get("alpha")
            self.modules[module] = NetModule(
                down=fields["lora_down.weight"].float(),
                up=fields["lora_up.weight"].float(),
                mid=mid.float() if mid is not None else None,
                alpha=alpha.item() if alpha is not None else None,
            )


class HotLoader:
    """Patches forward() of the mapped layers once, nets come and go."""

    def __init__(self, mapping):
        self.active = {}
        self.mapping = mapping
        for key, layer in mapping.items():
            layer.forward = self._patched(key, layer, layer.forward)

    def _patched(self, key, layer, original):
        def forward(x):
            y = original(x)
            for net, strength in self.active.values():
                module = net.modules.get(key)
                if module is not None and strength != 0:
                    y = y + strength * module.apply(x.float(), layer).to(y.dtype)
            return y

        return forward

    def add(self, name, path, strength=1.0):
        self.active[name] = (Net(name, path), strength)

    def strength(self, name, value):
        net, _ = self.active[name]
        self.active[name] = (net, value)

    def remove(self, name):
        self.active.pop(name, None)
