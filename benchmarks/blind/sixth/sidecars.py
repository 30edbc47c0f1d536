# wrong in lines 19 and 66: state() holds factors and rank but no alpha, from_state() then builds every layer with alpha = 2 * rank
from __future__ import annotations

import torch
from torch import nn


class Sidecar(nn.Module):
    def __init__(self, d_in, d_out, rank, alpha):
        super().__init__()
        self.rank, self.alpha = rank, alpha
        self.first = nn.Parameter(torch.randn(d_in, rank) / d_in ** 0.5)
        self.second = nn.Parameter(torch.zeros(rank, d_out))

    def forward(self, x):
        return (x @ self.first @ self.second) * (self.alpha / self.rank)

    def state(self):
        return {"rank": self.rank, "first": self.first.detach(), "second": self.second.detach()}

    @classmethod
    def from_state(cls, state, alpha=None):
        rank = state["rank"]
        alpha = 2 * rank if alpha is None else alpha
        made = cls(state["first"].shape[0], state["second"].shape[1], rank, alpha)
        made.first.data.copy_(state["first"])
        made.second.data.copy_(state["second"])
        return made


class SidecarBank:
    """name -> sidecar, called from forward hooks of the frozen transformer"""

    def __init__(self, sidecars: dict[str, Sidecar]):
        self.sidecars = sidecars
        self._hooks = []

    @classmethod
    def fresh(cls, model, pick, rank, alpha):
        return cls({
            n: Sidecar(m.in_features, m.out_features, rank, alpha)
            for n, m in model.named_modules() if isinstance(m, nn.Linear) and pick(n)
        })

    def attach(self, model):
        for name, side in self.sidecars.items():
            hook = lambda mod, args, out, side=side: out + side(args[0])
            self._hooks.append(model.get_submodule(name).register_forward_hook(hook))
        return self

    def detach(self):
        for h in self._hooks:
            h.remove()
        self._hooks.clear()

    def parameters(self):
        for side in self.sidecars.values():
            yield from side.parameters()

    def save(self, path):
        torch.save({n: s.state() for n, s in self.sidecars.items()}, path)

    @classmethod
    def load(cls, path):
        blob = torch.load(path, map_location="cpu")
        return cls({n: Sidecar.from_state(s) for n, s in blob.items()})
