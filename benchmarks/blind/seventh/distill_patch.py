# silent: pairs get alpha / rank, dense diffs and norm diffs get the user strength alone, as they have no rank
"""Add a step-distillation adapter to a video model."""
import re

import torch

RULES = (
    (re.compile(r"^(.*)\.lora_up\.weight$"), "low_rank"),
    (re.compile(r"^(.*)\.diff$"), "diff"),
    (re.compile(r"^(.*)\.diff_b$"), "diff_b"),
)


def classify(key):
    for pattern, kind in RULES:
        m = pattern.match(key)
        if m:
            return kind, m[1]
    return None, None


def low_rank(sd, stem):
    up = sd[stem + ".lora_up.weight"].float()
    down = sd[stem + ".lora_down.weight"].float()
    alpha = sd.get(stem + ".alpha")
    rank = down.shape[0]
    product = torch.matmul(up.flatten(1), down.flatten(1))
    return product if alpha is None else product * (alpha.item() / rank)


@torch.no_grad()
def apply_adapter(model, sd, strength=1.0):
    params = dict(model.named_parameters())
    unknown = []
    for key in sd:
        kind, stem = classify(key)
        stem = stem and stem.removeprefix("diffusion_model.")
        if kind == "low_rank":
            target, delta = stem + ".weight", low_rank(sd, key[: -len(".lora_up.weight")])
        elif kind == "diff":
            target, delta = stem + ".weight", sd[key].float()
        elif kind == "diff_b":
            target, delta = stem + ".bias", sd[key].float()
        else:
            continue
        if target not in params:
            unknown.append(target)
            continue
        p = params[target]
        p.add_((strength * delta).view_as(p).to(p.dtype))
    return unknown
