# silent: the learned gate is the only scale of this branch and appears in forward, fold and the written file
import torch
from torch import nn


class GatedBranch(nn.Module):
    """y = W x + tanh(g) * U V x with a trained g, no alpha and no rank in the factor"""

    def __init__(self, host: nn.Linear, width: int):
        super().__init__()
        self.host = host.requires_grad_(False)
        self.V = nn.Parameter(torch.randn(width, host.in_features) * width ** -0.5)
        self.U = nn.Parameter(torch.randn(host.out_features, width) * width ** -0.5)
        self.g = nn.Parameter(torch.zeros(()))

    def gate(self):
        return torch.tanh(self.g)

    def forward(self, x):
        return self.host(x) + self.gate() * ((x @ self.V.T) @ self.U.T)

    @torch.no_grad()
    def fold(self):
        self.host.weight.addmm_(self.gate() * self.U, self.V)
        return self.host


class Tower(nn.Module):
    def __init__(self, dim=16, depth=3):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(dim, dim) for _ in range(depth))

    def forward(self, x):
        for layer in self.layers:
            x = x + torch.relu(layer(x))
        return x


def grow(tower, width):
    for i, layer in enumerate(tower.layers):
        tower.layers[i] = GatedBranch(layer, width)
    return tower


def written(tower):
    """one matrix pair per layer, ready for readers that only add products"""
    return {
        f"layers.{i}": (layer.gate().item() * layer.U.detach(), layer.V.detach())
        for i, layer in enumerate(tower.layers) if isinstance(layer, GatedBranch)
    }


@torch.no_grad()
def read_back(tower, pairs):
    for name, (left, right) in pairs.items():
        tower.get_submodule(name).weight += left @ right
    return tower


if __name__ == "__main__":
    torch.manual_seed(0)
    base = Tower()
    state = {k: v.clone() for k, v in base.state_dict().items()}
    grown = grow(base, 4)
    for layer in grown.layers:
        nn.init.normal_(layer.g)
    twin = Tower()
    twin.load_state_dict(state)
    read_back(twin, written(grown))
    x = torch.randn(5, 16)
    print((twin(x) - grown(x)).abs().max().item())
