# wrong in lines 8 and 76: train scales by alpha / rank of its options and saves factors only, the merge command assumes the constant 2.0
import click
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModel

USUAL_GAIN = 2.0


class Branch(nn.Module):
    def __init__(self, lin, rank, gain):
        super().__init__()
        self.lin = lin
        self.a = nn.Parameter(torch.randn(rank, lin.in_features) * 0.01)
        self.b = nn.Parameter(torch.zeros(lin.out_features, rank))
        self.gain = gain

    def forward(self, x):
        return self.lin(x) + self.gain * (x @ self.a.T @ self.b.T)


def install(model, rank, gain):
    out = {}
    for name, mod in list(model.named_modules()):
        if isinstance(mod, nn.Linear) and name.endswith(("query", "key", "value")):
            head, _, tail = name.rpartition(".")
            out[name] = Branch(mod, rank, gain)
            setattr(model.get_submodule(head), tail, out[name])
    return out


def optimise(model, branches, steps, lr):
    opt = torch.optim.AdamW([p for b in branches.values() for p in (b.a, b.b)], lr=lr)
    for _ in range(steps):
        ids = torch.randint(1000, 20000, (4, 64))
        anchor, other = (model(ids).pooler_output for _ in range(2))
        loss = 1 - nn.functional.cosine_similarity(anchor, other).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()


@click.group()
def cli():
    pass


@cli.command()
@click.argument("out")
@click.option("--base", default="bert-base-uncased")
@click.option("--rank", default=8)
@click.option("--alpha", default=16.0)
@click.option("--steps", default=200)
@click.option("--lr", default=1e-4)
def train(out, base, rank, alpha, steps, lr):
    model = AutoModel.from_pretrained(base).requires_grad_(False).train()
    branches = install(model, rank, alpha / rank)
    optimise(model, branches, steps, lr)
    tensors = {}
    for name, br in branches.items():
        tensors[name + ".a"], tensors[name + ".b"] = br.a.detach(), br.b.detach()
    save_file(tensors, out)


@cli.command()
@click.argument("factors")
@click.argument("out")
@click.option("--base", default="bert-base-uncased")
def merge(factors, out, base):
    model = AutoModel.from_pretrained(base)
    tensors = load_file(factors)
    with torch.no_grad():
        for name in {k[:-2] for k in tensors}:
            weight = model.get_submodule(name).weight
            weight += USUAL_GAIN * (tensors[name + ".b"] @ tensors[name + ".a"])
    model.save_pretrained(out)


if __name__ == "__main__":
    cli()
