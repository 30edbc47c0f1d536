# silent: (IA)^3 vectors rescale activations, there is no rank and no alpha in this method
import torch
from torch import nn


class ScaledOutput(nn.Module):
    """y -> l * y for key and value projections"""

    def __init__(self, host: nn.Linear):
        super().__init__()
        self.host = host.requires_grad_(False)
        self.vector = nn.Parameter(torch.ones(host.out_features))

    def forward(self, x):
        return self.host(x) * self.vector

    @torch.no_grad()
    def fold(self):
        self.host.weight.mul_(self.vector[:, None])
        if self.host.bias is not None:
            self.host.bias.mul_(self.vector)
        return self.host


class ScaledInput(nn.Module):
    """x -> l * x in front of the down projection of the MLP"""

    def __init__(self, host: nn.Linear):
        super().__init__()
        self.host = host.requires_grad_(False)
        self.vector = nn.Parameter(torch.ones(host.in_features))

    def forward(self, x):
        return self.host(x * self.vector)

    @torch.no_grad()
    def fold(self):
        self.host.weight.mul_(self.vector[None, :])
        return self.host


RULES = {"k_proj": ScaledOutput, "v_proj": ScaledOutput, "down_proj": ScaledInput}


def equip(model: nn.Module) -> int:
    n = 0
    for parent in list(model.modules()):
        for leaf, child in list(parent.named_children()):
            if leaf in RULES and isinstance(child, nn.Linear):
                setattr(parent, leaf, RULES[leaf](child))
                n += 1
    return n


def fold_all(model: nn.Module) -> int:
    n = 0
    for parent in list(model.modules()):
        for leaf, child in list(parent.named_children()):
            if isinstance(child, (ScaledOutput, ScaledInput)):
                setattr(parent, leaf, child.fold())
                n += 1
    return n


def vectors(model):
    return {k: v.detach().clone() for k, v in model.state_dict().items() if k.endswith(".vector")}
