# wrong in line 46: scale in the .diff branch is left over from an earlier low-rank entry, full diffs have no alpha
import logging

import torch
from safetensors.torch import load_file

log = logging.getLogger(__name__)


def stems_in(sd):
    order = {}
    for k in sd:
        order.setdefault(k.partition(".")[0], None)
    return list(order)


def reshape_like(mat, ref):
    return mat.reshape(ref.shape)


@torch.no_grad()
def load_into(model, path, strength, mapping):
    """Kohya / WAN style file: low-rank pairs, full .diff and .diff_b entries side by side."""
    sd = load_file(path)
    params = dict(model.named_parameters())
    scale = 1.0
    n_low = n_full = n_bias = 0
    for stem in stems_in(sd):
        module = mapping.get(stem)
        if module is None:
            log.warning("no target for %s", stem)
            continue
        w = params[f"{module}.weight"]

        if f"{stem}.lora_down.weight" in sd:
            a = sd[f"{stem}.lora_down.weight"].float()
            b = sd[f"{stem}.lora_up.weight"].float()
            scale = 1.0
            if f"{stem}.alpha" in sd:
                scale = sd[f"{stem}.alpha"].item() / a.shape[0]
            patch = b.flatten(1) @ a.flatten(1)
            w.add_(reshape_like(patch, w).to(w.dtype), alpha=strength * scale)
            n_low += 1
        elif f"{stem}.diff" in sd:
            patch = sd[f"{stem}.diff"].float()
            w.add_(reshape_like(patch, w).to(w.dtype), alpha=strength * scale)
            n_full += 1

        if f"{stem}.diff_b" in sd:
            bias = params[f"{module}.bias"]
            bias.add_(sd[f"{stem}.diff_b"].to(bias.dtype), alpha=strength)
            n_bias += 1
    log.info("low rank %d, full %d, bias %d", n_low, n_full, n_bias)
    return n_low + n_full


if __name__ == "__main__":
    logging.basicConfig(level="INFO")
