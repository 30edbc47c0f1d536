# wrong in line 29: forward multiplies the branch's bias by the gain as well, collapse adds the bias without it
"""Linear layer with a low-rank branch whose second matrix has a bias."""
import torch
import torch.nn as nn


class BiasedBranch(nn.Module):
    def __init__(self, host: nn.Linear, rank: int = 8, alpha: float = 32.0, p: float = 0.0):
        super().__init__()
        if host.bias is None:
            raise ValueError("host layer needs a bias")
        self.host = host
        for param in host.parameters():
            param.requires_grad_(False)
        self.pre = nn.Dropout(p)
        self.first = nn.Linear(host.in_features, rank, bias=False)
        self.second = nn.Linear(rank, host.out_features, bias=True)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)
        self.gain = alpha / rank

    def forward(self, x):
        return self.host(x) + self.gain * self.second(self.first(self.pre(x)))

    @torch.no_grad()
    def collapse(self) -> nn.Linear:
        host = self.host
        host.weight.add_(self.second.weight @ self.first.weight, alpha=self.gain)
        host.bias.add_(self.second.bias)
        return host


def replace(model, predicate, build):
    """Swap every child for which predicate(path, child) holds with build(child)."""
    for path, module in list(model.named_modules()):
        for name, child in list(module.named_children()):
            full = f"{path}.{name}" if path else name
            if predicate(full, child):
                setattr(module, name, build(child))
    return model


def equip(model, rank=8, alpha=32.0):
    return replace(model, lambda n, c: isinstance(c, nn.Linear) and "out_proj" in n,
                   lambda c: BiasedBranch(c, rank, alpha))


def collapse_all(model):
    return replace(model, lambda n, c: isinstance(c, BiasedBranch), lambda c: c.collapse())
