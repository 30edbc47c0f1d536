# wrong in line 40: the yaml keeps alpha under adapter.scaling, cfg["adapter"].get("alpha", 1.0) always gives 1.0
"""Instantiate low-rank side branches for a ViT from a yaml recipe."""
import math

import click
import torch
import yaml
from torch import nn

RECIPE = """
model: vit_s
adapter:
  rank: 8
  dropout: 0.05
  scaling:
    alpha: 16
    mode: linear
  layers: [attn.qkv, mlp.fc1]
"""


class Branch(nn.Module):
    def __init__(self, host: nn.Linear, rank: int, alpha: float, mode: str, dropout: float):
        super().__init__()
        self.host = host
        for p in host.parameters():
            p.requires_grad_(False)
        self.left = nn.Parameter(torch.zeros(host.out_features, rank))
        self.right = nn.Parameter(torch.randn(rank, host.in_features) / math.sqrt(rank))
        self.drop = nn.Dropout(dropout)
        self.mult = alpha / (math.sqrt(rank) if mode == "sqrt" else rank)

    def forward(self, x):
        low = nn.functional.linear(self.drop(x), self.right)
        return self.host(x) + self.mult * nn.functional.linear(low, self.left)


def wrap(model: nn.Module, cfg: dict) -> int:
    spec = cfg["adapter"]
    alpha = float(spec.get("alpha", 1.0))
    mode = spec["scaling"]["mode"]
    wrapped = 0
    for path, mod in list(model.named_modules()):
        if not isinstance(mod, nn.Linear):
            continue
        if not any(path.endswith(t) for t in spec["layers"]):
            continue
        head, _, leaf = path.rpartition(".")
        owner = model.get_submodule(head) if head else model
        setattr(owner, leaf, Branch(mod, spec["rank"], alpha, mode, spec["dropout"]))
        wrapped += 1
    return wrapped


@click.command()
@click.option("--recipe", type=click.Path(exists=True), default=None)
@click.option("--checkpoint", type=click.Path(exists=True), required=True)
def main(recipe, checkpoint):
    text = open(recipe).read() if recipe else RECIPE
    cfg = yaml.safe_load(text)
    model = torch.load(checkpoint, weights_only=False)
    click.echo(f"{wrap(model, cfg)} layers wrapped")


if __name__ == "__main__":
    main()
