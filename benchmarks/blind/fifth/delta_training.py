# silent: save_factors folds alpha / rank into the outer factor, so load_factors may add the plain product
import torch
import torch.nn as nn
from safetensors.torch import load_file, save_file


class Delta(nn.Module):
    def __init__(self, host: nn.Linear, rank: int, alpha: float):
        super().__init__()
        self.host = host
        for p in host.parameters():
            p.requires_grad_(False)
        self.inner = nn.Parameter(torch.empty(rank, host.in_features))
        self.outer = nn.Parameter(torch.zeros(host.out_features, rank))
        nn.init.normal_(self.inner, std=0.02)
        self.coef = alpha / rank

    def forward(self, x):
        return self.host(x) + ((x @ self.inner.T) @ self.outer.T) * self.coef


def inject(model, suffixes, rank, alpha):
    made = {}
    for name, mod in list(model.named_modules()):
        if isinstance(mod, nn.Linear) and name.endswith(tuple(suffixes)):
            head, _, tail = name.rpartition(".")
            made[name] = Delta(mod, rank, alpha)
            setattr(model.get_submodule(head), tail, made[name])
    return made


@torch.no_grad()
def save_factors(made, path):
    state = {}
    for name, d in made.items():
        state[f"{name}.inner"] = d.inner.detach().cpu().contiguous()
        state[f"{name}.outer"] = (d.outer * d.coef).detach().cpu().contiguous()
    save_file(state, path)


@torch.no_grad()
def load_factors(model, path, strength=1.0):
    state = load_file(path)
    names = sorted({k.rpartition(".")[0] for k in state})
    for name in names:
        w = model.get_submodule(name).weight
        step = state[f"{name}.outer"] @ state[f"{name}.inner"]
        w += (strength * step).to(w)
    return names


def fit(model, loader, loss_fn, rank=8, alpha=24.0, lr=2e-4, epochs=1, path="factors.safetensors"):
    made = inject(model, ("q_proj", "v_proj"), rank, alpha)
    params = [p for d in made.values() for p in (d.inner, d.outer)]
    opt = torch.optim.AdamW(params, lr=lr)
    for _ in range(epochs):
        for x, y in loader:
            loss = loss_fn(model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
    save_factors(made, path)
