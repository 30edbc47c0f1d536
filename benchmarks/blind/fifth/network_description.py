# wrong in line 42: describe returns (rank, alpha) and build unpacks the slots the other way round
from collections import OrderedDict

import torch
from safetensors.torch import load_file


class Module(torch.nn.Module):
    def __init__(self, name, org, dim, alpha, multiplier):
        super().__init__()
        self.name = name
        self.org = [org]
        self.down = torch.nn.Linear(org.in_features, dim, bias=False)
        self.up = torch.nn.Linear(dim, org.out_features, bias=False)
        self.multiplier = multiplier
        self.scale = alpha / dim

    def attach(self):
        org = self.org[0]
        self.inner_forward = org.forward
        org.forward = self.forward

    def forward(self, x):
        return self.inner_forward(x) + self.up(self.down(x)) * (self.multiplier * self.scale)


def describe(sd):
    """name -> what is needed to allocate the module"""
    info = OrderedDict()
    for key, value in sd.items():
        name, _, tail = key.partition(".")
        if tail == "lora_down.weight":
            alpha = sd.get(name + ".alpha")
            info[name] = (value.shape[0], float(value.shape[0]) if alpha is None else alpha.item())
    return info


def build(model, path, multiplier=1.0):
    sd = load_file(path)
    known = {"lora_te_" + n.replace(".", "_"): m for n, m in model.named_modules()}
    network = torch.nn.ModuleDict()
    for name, (alpha, _) in describe(sd).items():
        if name not in known:
            continue
        dim = sd[name + ".lora_down.weight"].shape[0]
        mod = Module(name, known[name], dim, alpha, multiplier)
        mod.down.weight.data.copy_(sd[name + ".lora_down.weight"])
        mod.up.weight.data.copy_(sd[name + ".lora_up.weight"])
        network[name] = mod
    for mod in network.values():
        mod.attach()
    return network


if __name__ == "__main__":
    import sys

    from transformers import CLIPTextModel

    te = CLIPTextModel.from_pretrained("openai/clip-vit-large-patch14")
    net = build(te, sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 1.0)
    print(len(net), "modules attached")
