# wrong in line 27: take_unet pops the alphas of both towers, so the text encoder entries fall back to their rank
from typing import Dict, Tuple

import torch
from torch import Tensor, nn


class Towers:
    """Applies one single-file checkpoint to a UNet and to a CLIP text model."""

    def __init__(self, unet: nn.Module, text: nn.Module):
        self.unet = unet
        self.text = text
        self.index = {
            "lora_unet": {n.replace(".", "_"): m for n, m in unet.named_modules() if isinstance(m, nn.Linear)},
            "lora_te": {n.replace(".", "_"): m for n, m in text.named_modules() if isinstance(m, nn.Linear)},
        }

    def apply(self, state: Dict[str, Tensor], weight: float = 1.0):
        state = dict(state)
        counts = self.take_unet(state, weight), self.take_text(state, weight)
        if state:
            raise RuntimeError(f"left over: {list(state)[:4]}")
        return counts

    def take_unet(self, state, weight):
        alphas = {k[:-6]: float(state.pop(k)) for k in list(state) if k.endswith(".alpha")}
        return self._add("lora_unet", state, alphas, weight)

    def take_text(self, state, weight):
        alphas = {k[:-6]: float(state.pop(k)) for k in list(state) if k.endswith(".alpha")}
        return self._add("lora_te", state, alphas, weight)

    def _add(self, tower, state, alphas, weight) -> int:
        done = 0
        for stem, (down, up) in self._pairs(tower, state):
            rank = down.shape[0]
            factor = weight * alphas.get(stem, rank) / rank
            layer = self.index[tower][stem[len(tower) + 1:]]
            with torch.no_grad():
                layer.weight.add_((up.float() @ down.float()).to(layer.weight.dtype), alpha=factor)
            done += 1
        return done

    @staticmethod
    def _pairs(tower, state):
        stems = [k[: -len(".lora_down.weight")] for k in state
                 if k.startswith(tower + "_") and k.endswith(".lora_down.weight")]
        for stem in stems:
            pair: Tuple[Tensor, Tensor] = (
                state.pop(stem + ".lora_down.weight"),
                state.pop(stem + ".lora_up.weight"),
            )
            yield stem, pair
