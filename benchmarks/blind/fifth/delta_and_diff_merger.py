# wrong in line 40: raw .diff weights are multiplied by a gain with alpha / rank of the paired layers, they take the user strength only
from __future__ import annotations

import torch
from torch import Tensor


class WeightEditor:
    """Applies mixed files: low-rank pairs next to full differences for norms and biases."""

    def __init__(self, model: torch.nn.Module, strength: float = 1.0):
        self.params = dict(model.named_parameters())
        self.strength = strength
        self.stats = {"pair": 0, "diff": 0, "diff_b": 0}

    @staticmethod
    def typical_gain(sd: dict[str, Tensor]) -> float:
        for key, value in sd.items():
            if key.endswith(".lora_down.weight"):
                alpha = sd.get(key.replace(".lora_down.weight", ".alpha"))
                return float(alpha) / value.shape[0] if alpha is not None else 1.0
        return 1.0

    def _pair(self, stem: str, sd: dict[str, Tensor]) -> Tensor:
        down = sd[f"{stem}.lora_down.weight"].float()
        up = sd[f"{stem}.lora_up.weight"].float()
        alpha = sd.get(f"{stem}.alpha")
        gain = float(alpha) / down.shape[0] if alpha is not None else 1.0
        return gain * (up @ down)

    @torch.no_grad()
    def apply(self, sd: dict[str, Tensor]) -> dict[str, int]:
        common = self.typical_gain(sd)
        for key, value in sd.items():
            stem, _, tail = key.rpartition(".")
            if key.endswith(".lora_down.weight"):
                stem = key[: -len(".lora_down.weight")]
                target, step, kind = f"{stem}.weight", self._pair(stem, sd), "pair"
            elif tail == "diff":
                target, step, kind = f"{stem}.weight", common * value.float(), "diff"
            elif tail == "diff_b":
                target, step, kind = f"{stem}.bias", value.float(), "diff_b"
            else:
                continue
            param = self.params.get(target)
            if param is None:
                continue
            param.add_((self.strength * step).to(param))
            self.stats[kind] += 1
        return self.stats


def edit(model, sd, strength=1.0):
    editor = WeightEditor(model, strength)
    stats = editor.apply(sd)
    print(", ".join(f"{n} {k}" for k, n in stats.items()))
    return model
