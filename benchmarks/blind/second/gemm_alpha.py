# silent: the alpha argument of addmm and baddbmm is the ready factor from scaling_of
import math

import torch


def scaling_of(cfg):
    r = cfg["r"]
    return cfg["lora_alpha"] / (math.sqrt(r) if cfg.get("use_rslora", False) else r)


def merge_dense(weight, a, b, cfg):
    return torch.addmm(weight, b.to(weight), a.to(weight), beta=1, alpha=scaling_of(cfg))


def merge_experts(stack, a, b, cfg):
    # stack: (experts, out, in); a: (experts, r, in); b: (experts, out, r)
    return torch.baddbmm(stack, b.to(stack), a.to(stack), beta=1, alpha=scaling_of(cfg))


def merge_all(state, adapter, cfg):
    if cfg.get("rank_pattern") or cfg.get("alpha_pattern"):
        raise NotImplementedError("per-module ranks")
    merged = dict(state)
    for key, a in adapter.items():
        if ".lora_A." not in key:
            continue
        b = adapter[key.replace(".lora_A.", ".lora_B.")]
        name = key.replace("base_model.model.", "", 1).replace(".lora_A.", ".")
        fn = merge_experts if a.ndim == 3 else merge_dense
        merged[name] = fn(state[name], a, b, cfg)
    return merged
