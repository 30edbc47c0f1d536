# wrong in lines 37 and 48: training scales the branch by alpha / rank, the file keeps only the factors and attach_saved adds them unscaled
import argparse

import torch
import torch.nn as nn
from safetensors.torch import load_file, save_file


class Branch(nn.Module):
    def __init__(self, host, rank, alpha):
        super().__init__()
        self.host = host
        self.inner = nn.Linear(host.in_features, rank, bias=False)
        self.outer = nn.Linear(rank, host.out_features, bias=False)
        nn.init.zeros_(self.outer.weight)
        self.mult = alpha / rank

    def forward(self, x):
        return self.host(x) + self.outer(self.inner(x)) * self.mult


def inject(model, rank, alpha):
    model.requires_grad_(False)
    branches = {}
    for name, mod in list(model.named_modules()):
        if isinstance(mod, nn.Linear) and name.endswith(("query", "value")):
            parent = model.get_submodule(name.rpartition(".")[0])
            branches[name] = Branch(mod, rank, alpha)
            setattr(parent, name.rpartition(".")[2], branches[name])
    return branches


def store(branches, path):
    out = {}
    for name, br in branches.items():
        out[f"{name}.inner"] = br.inner.weight.detach().cpu()
        out[f"{name}.outer"] = br.outer.weight.detach().cpu()
    save_file(out, path)


@torch.no_grad()
def attach_saved(model, path):
    sd = load_file(path)
    for key, inner in sd.items():
        if key.endswith(".inner"):
            name = key[: -len(".inner")]
            host = model.get_submodule(name)
            host.weight += sd[name + ".outer"] @ inner
    return model


def cli():
    ap = argparse.ArgumentParser()
    ap.add_argument("--rank", type=int, default=8)
    ap.add_argument("--alpha", type=float, default=16.0)
    ap.add_argument("--out", default="branches.safetensors")
    return ap.parse_args()


if __name__ == "__main__":
    from transformers import AutoModel

    args = cli()
    net = AutoModel.from_pretrained("bert-base-uncased")
    store(inject(net, args.rank, args.alpha), args.out)
