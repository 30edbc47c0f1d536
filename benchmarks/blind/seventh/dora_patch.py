# silent: alpha / rank is inside the norm and the user strength is outside of it, as weight-decomposed adapters need
"""Apply DoRA files to checkpoint tensors."""
import torch


def column_or_row_norm(weight, dora_scale):
    """Norm over the axis for which the stored magnitude has size 1."""
    if dora_scale.shape[0] == weight.shape[0]:
        return weight.reshape(weight.shape[0], -1).norm(dim=1).reshape(-1, *[1] * (weight.dim() - 1))
    moved = weight.transpose(0, 1)
    norm = moved.reshape(moved.shape[0], -1).norm(dim=1).reshape(moved.shape[0], *[1] * (weight.dim() - 1))
    return norm.transpose(0, 1)


def apply_dora(weight, up, down, alpha, dora_scale, strength=1.0, compute=torch.float32):
    dtype = weight.dtype
    base = weight.to(compute)
    scale = (alpha / down.shape[0]) if alpha is not None else 1.0
    delta = (up.flatten(1).to(compute) @ down.flatten(1).to(compute)).reshape(base.shape)
    candidate = base + scale * delta
    norm = column_or_row_norm(candidate, dora_scale) + torch.finfo(compute).eps
    candidate = candidate * (dora_scale.to(compute) / norm)
    if strength != 1.0:
        candidate = base + strength * (candidate - base)
    return candidate.to(dtype)


def patch_checkpoint(checkpoint, adapter, key_map, strength=1.0):
    patched = dict(checkpoint)
    for name, target in key_map.items():
        magnitude = adapter.get(f"{name}.dora_scale")
        if magnitude is None:
            continue
        alpha = adapter.get(f"{name}.alpha")
        patched[target] = apply_dora(
            checkpoint[target],
            adapter[f"{name}.lora_up.weight"],
            adapter[f"{name}.lora_down.weight"],
            None if alpha is None else alpha.item(),
            magnitude,
            strength,
        )
    return patched
