# wrong in line 28: branch.gain is alpha / rank already, load.py divides the stored alpha by the rank once more
"""Save trained branches of the speech encoder."""
import pathlib

import torch


class Branch(torch.nn.Module):
    def __init__(self, layer, rank, alpha):
        super().__init__()
        self.layer = layer
        self.down = torch.nn.Linear(layer.in_features, rank, bias=False)
        self.up = torch.nn.Linear(rank, layer.out_features, bias=False)
        torch.nn.init.zeros_(self.up.weight)
        self.gain = alpha / rank

    def forward(self, x):
        return self.layer(x) + self.gain * self.up(self.down(x))


def save(model, path):
    payload = {}
    for name, branch in model.named_modules():
        if isinstance(branch, Branch):
            payload[name] = {
                "down": branch.down.weight.detach().cpu(),
                "up": branch.up.weight.detach().cpu(),
                "alpha": branch.gain,
            }
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(payload, path)
    return len(payload)
