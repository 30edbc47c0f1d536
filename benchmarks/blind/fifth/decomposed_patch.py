# wrong in line 19: the user strength is put into the direction before the norm instead of weighting the finished difference
from typing import Optional

import torch
from torch import Tensor


def axis_norm(weight: Tensor, like: Tensor) -> Tensor:
    """Norm with the layout that the stored magnitude has."""
    flat = weight.flatten(1)
    if like.numel() == weight.shape[0]:
        norm = flat.norm(dim=1, keepdim=True)
        return norm.reshape(weight.shape[0], *[1] * (weight.ndim - 1))
    by_input = weight.transpose(0, 1).flatten(1).norm(dim=1)
    return by_input.reshape(1, weight.shape[1], *[1] * (weight.ndim - 2))


def decomposed(weight: Tensor, diff: Tensor, gain: float, magnitude: Tensor, strength: float) -> Tensor:
    moved = weight + (strength * gain) * diff
    return moved * (magnitude.reshape(axis_norm(moved, magnitude).shape) / axis_norm(moved, magnitude))


def patched(
    weight: Tensor,
    up: Tensor,
    down: Tensor,
    alpha: Optional[float],
    magnitude: Optional[Tensor],
    strength: float,
) -> Tensor:
    w = weight.float()
    gain = 1.0 if alpha is None else alpha / down.shape[0]
    diff = (up.flatten(1).float() @ down.flatten(1).float()).reshape(w.shape)
    if magnitude is None:
        return (w + strength * gain * diff).to(weight.dtype)
    return decomposed(w, diff, gain, magnitude.float(), strength).to(weight.dtype)


def patch_model(model: torch.nn.Module, sd: dict, strength: float) -> int:
    layers = {"lora_unet_" + n.replace(".", "_"): m for n, m in model.named_modules()}
    n = 0
    for key in [k for k in sd if k.endswith(".lora_down.weight")]:
        stem = key.split(".", 1)[0]
        layer = layers.get(stem)
        if layer is None:
            continue
        alpha = sd.get(f"{stem}.alpha")
        layer.weight.data = patched(
            layer.weight.data,
            sd[f"{stem}.lora_up.weight"],
            sd[key],
            None if alpha is None else float(alpha),
            sd.get(f"{stem}.dora_scale"),
            strength,
        )
        n += 1
    return n
