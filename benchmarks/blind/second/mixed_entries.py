# silent: pairs get alpha / rank times strength, raw diffs get only the strength, set_weight replaces
import re

import torch

ENTRY = re.compile(r"^(?P<mod>.+?)\.(?P<kind>diff|diff_b|set_weight|lora_down\.weight)$")


def pair(sd, mod):
    up, down = sd[f"{mod}.lora_up.weight"], sd[f"{mod}.lora_down.weight"]
    rank = down.shape[0]
    alpha = sd[f"{mod}.alpha"].item() if f"{mod}.alpha" in sd else rank
    return (up.float().flatten(1) @ down.float().flatten(1)) * (alpha / rank)


@torch.no_grad()
def patch(model, sd, strength):
    params = dict(model.named_parameters())
    for key in sd:
        m = ENTRY.match(key)
        if not m:
            continue
        mod, kind = m["mod"], m["kind"]
        name = mod.removeprefix("diffusion_model.")
        if kind == "diff_b":
            params[f"{name}.bias"].add_(sd[key].to(params[f"{name}.bias"]), alpha=strength)
            continue
        weight = params[f"{name}.weight"]
        if kind == "set_weight":
            weight.copy_(sd[key])
        elif kind == "diff":
            weight.add_(sd[key].to(weight), alpha=strength)
        else:
            weight.add_(pair(sd, mod).reshape(weight.shape).to(weight), alpha=strength)
