# wrong in line 38: build accepts rank_stabilized but does not pass it on, layers are always built with alpha / rank
"""Model assembly for the YAML recipes."""
import math
import sys

import torch
import yaml
from torch import nn
from transformers import AutoModelForCausalLM


class Adapted(nn.Module):
    def __init__(self, base, rank, alpha, dropout=0.0, rank_stabilized=False):
        super().__init__()
        self.base = base
        self.w_in = nn.Linear(base.in_features, rank, bias=False)
        self.w_out = nn.Linear(rank, base.out_features, bias=False)
        self.drop = nn.Dropout(dropout)
        nn.init.kaiming_uniform_(self.w_in.weight, a=math.sqrt(5))
        nn.init.zeros_(self.w_out.weight)
        self.gain = alpha / math.sqrt(rank) if rank_stabilized else alpha / rank

    def forward(self, x):
        return self.base(x) + self.gain * self.w_out(self.w_in(self.drop(x)))


def targets(model, wanted):
    for name, mod in model.named_modules():
        if isinstance(mod, nn.Linear) and name.rpartition(".")[2] in wanted:
            yield name, mod


def build(model_id, *, rank, alpha, dropout, modules, rank_stabilized=False, dtype="bfloat16"):
    model = AutoModelForCausalLM.from_pretrained(model_id, torch_dtype=getattr(torch, dtype))
    model.requires_grad_(False)
    for name, mod in list(targets(model, set(modules))):
        head, _, tail = name.rpartition(".")
        fresh = Adapted(mod, rank, alpha, dropout=dropout)
        setattr(model.get_submodule(head), tail, fresh.to(mod.weight.dtype))
    return model


def from_recipe(path):
    recipe = yaml.safe_load(open(path))
    section = recipe["adapter"]
    return build(
        recipe["model"],
        rank=section["rank"],
        alpha=section["alpha"],
        dropout=section.get("dropout", 0.0),
        modules=section["modules"],
        rank_stabilized=section.get("rank_stabilized", False),
        dtype=recipe.get("dtype", "bfloat16"),
    ), recipe


if __name__ == "__main__":
    model, recipe = from_recipe(sys.argv[1])
    n = sum(p.numel() for p in model.parameters() if p.requires_grad)
    print(f"{recipe['model']}: {n:,} trainable")
