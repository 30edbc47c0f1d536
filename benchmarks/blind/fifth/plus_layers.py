# silent: the project trains without any multiplier on purpose, says so in the header, and its loader refuses other files
"""Adapters of this project are always y = Wx + QPx."""
import sys

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

CONVENTION = "delta = q @ p, no multiplier"


class Plus(nn.Module):
    def __init__(self, lin, rank):
        super().__init__()
        self.lin = lin.requires_grad_(False)
        self.p = nn.Parameter(torch.randn(rank, lin.in_features) / lin.in_features)
        self.q = nn.Parameter(torch.zeros(lin.out_features, rank))

    def forward(self, x):
        return self.lin(x) + x @ self.p.T @ self.q.T


def wrap(model, tails, rank):
    made = {}
    for name, mod in list(model.named_modules()):
        if isinstance(mod, nn.Linear) and name.rpartition(".")[2] in tails:
            head, _, tail = name.rpartition(".")
            made[name] = Plus(mod, rank)
            setattr(model.get_submodule(head), tail, made[name])
    return made


def save(made, path, base):
    state = {}
    for name, plus in made.items():
        rank = plus.p.shape[0]
        state[f"{name}.lora_A.weight"] = plus.p.detach().cpu()
        state[f"{name}.lora_B.weight"] = plus.q.detach().cpu()
        state[f"{name}.alpha"] = torch.tensor(float(rank))
    save_file(state, path, metadata={"convention": CONVENTION, "base": base})


@torch.no_grad()
def load_into(model, path):
    with safe_open(path, framework="pt", device="cpu") as f:
        if (f.metadata() or {}).get("convention") != CONVENTION:
            raise ValueError(f"{path} was not written by this project")
        names = [k.removesuffix(".lora_A.weight") for k in f.keys() if k.endswith(".lora_A.weight")]
        for name in names:
            step = f.get_tensor(f"{name}.lora_B.weight") @ f.get_tensor(f"{name}.lora_A.weight")
            weight = model.get_submodule(name).weight
            weight.add_(step.to(weight))
    return names


def train(model, loader, base, rank=16, lr=2e-4, path="plus.safetensors"):
    model.requires_grad_(False)
    made = wrap(model, {"q_proj", "v_proj"}, rank)
    opt = torch.optim.AdamW((p for m in made.values() for p in (m.p, m.q)), lr=lr)
    for batch in loader:
        loss = model(**batch).loss
        loss.backward()
        opt.step()
        opt.zero_grad()
    save(made, path, base)


if __name__ == "__main__":
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(sys.argv[1])
    print(len(load_into(model, sys.argv[2])), "layers")
    model.save_pretrained(sys.argv[3])
