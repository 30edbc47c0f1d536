# silent: alpha is set anew for each module, a module without one gets its own rank
"""Patch CLIP text encoder weights with the lora_te part of a file."""
import re

import torch

PATTERN = re.compile(r"lora_te_text_model_encoder_layers_(\d+)_(self_attn|mlp)_(\w+)$")


def target_key(module):
    m = PATTERN.match(module)
    if m is None:
        return None
    return f"text_model.encoder.layers.{m[1]}.{m[2]}.{m[3]}.weight"


def modules_of(sd):
    seen = []
    for key in sd:
        module = key.partition(".")[0]
        if module.startswith("lora_te_") and module not in seen:
            seen.append(module)
    return seen


@torch.no_grad()
def patch_text_encoder(weights, sd, strength_clip):
    alpha = None
    touched = 0
    for module in modules_of(sd):
        key = target_key(module)
        if key not in weights:
            continue
        down = sd[f"{module}.lora_down.weight"]
        up = sd[f"{module}.lora_up.weight"]
        alpha = sd.get(f"{module}.alpha")
        if alpha is None:
            alpha = float(down.shape[0])
        else:
            alpha = alpha.item()
        factor = strength_clip * alpha / down.shape[0]
        weights[key] = torch.addmm(weights[key].float(), up.float(), down.float(), alpha=factor).to(weights[key].dtype)
        touched += 1
    return touched
