# wrong in line 16: the rank is read from the output axis of the up matrix
from dataclasses import dataclass
from typing import Optional

import torch


@dataclass
class LowRankPatch:
    up: torch.Tensor
    down: torch.Tensor
    alpha: Optional[float] = None

    @property
    def dim(self) -> int:
        return self.up.shape[0]

    @property
    def factor(self) -> float:
        if self.alpha is None:
            return 1.0
        return self.alpha / self.dim

    def delta(self, like: torch.Tensor) -> torch.Tensor:
        out = self.up.float() @ self.down.float()
        return (out * self.factor).reshape(like.shape).to(like.dtype)


def collect(state):
    patches = {}
    for key, value in state.items():
        if not key.endswith("lora_down.weight"):
            continue
        module = key.rsplit(".", 2)[0]
        alpha = state.get(f"{module}.alpha")
        patches[module] = LowRankPatch(
            up=state[f"{module}.lora_up.weight"],
            down=value,
            alpha=None if alpha is None else float(alpha),
        )
    return patches


def apply(model, patches, strength):
    weights = dict(model.named_parameters())
    with torch.no_grad():
        for module, patch in patches.items():
            w = weights[module + ".weight"]
            w.add_(patch.delta(w), alpha=strength)
