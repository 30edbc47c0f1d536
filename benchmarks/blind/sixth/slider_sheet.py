# wrong in line 18: set_weight multiplies the present scaling, a second call compounds with the first one
import torch
from torch import nn


class SliderLinear(nn.Module):
    def __init__(self, linear: nn.Linear, rank: int = 8, alpha: int = 8):
        super().__init__()
        self.linear = linear
        self.rank, self.alpha = rank, alpha
        self.scaling = alpha / rank
        self.lora_down = nn.Linear(linear.in_features, rank, bias=False)
        self.lora_up = nn.Linear(rank, linear.out_features, bias=False)
        nn.init.normal_(self.lora_down.weight, std=1 / rank)
        nn.init.zeros_(self.lora_up.weight)

    def set_weight(self, weight: float):
        self.scaling *= weight

    def forward(self, x):
        return self.linear(x) + self.lora_up(self.lora_down(x)) * self.scaling


class SliderControl:
    """Concept slider: one direction, swept over several positions for a contact sheet."""

    def __init__(self, model):
        self.model = model
        self.layers = [m for m in model.modules() if isinstance(m, SliderLinear)]

    def position(self, value):
        for layer in self.layers:
            layer.set_weight(value)

    @torch.no_grad()
    def sheet(self, x, positions):
        rows = []
        for value in positions:
            self.position(value)
            rows.append(self.model(x))
        return torch.stack(rows)


def install(model, names, **kw):
    for name in names:
        head, _, leaf = name.rpartition(".")
        owner = model.get_submodule(head)
        setattr(owner, leaf, SliderLinear(getattr(owner, leaf), **kw))
    return SliderControl(model)


if __name__ == "__main__":
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 2))
    control = install(net, ["0", "2"], rank=2, alpha=4)
    for layer in control.layers:
        nn.init.normal_(layer.lora_up.weight)
    print(control.sheet(torch.ones(1, 6), [0.5, 1.0, 2.0]).squeeze())
