# silent: the scaled delta is used both for the norm and for the direction; the magnitude is applied once
import torch
from safetensors.torch import load_file, save_file


def dora_weight(weight, a, b, magnitude, scaling):
    delta = (b @ a) * scaling
    direction = weight + delta
    norm = direction.norm(p=2, dim=1, keepdim=True)
    return magnitude.view(-1, 1) * direction / norm


def merge_state(base, adapter, cfg):
    r = cfg["r"]
    if cfg.get("use_rslora"):
        scaling = cfg["lora_alpha"] / r ** 0.5
    else:
        scaling = cfg["lora_alpha"] / r
    merged = dict(base)
    for key in adapter:
        if not key.endswith(".lora_A.weight"):
            continue
        stem = key[: -len(".lora_A.weight")]
        target = stem.replace("base_model.model.", "", 1) + ".weight"
        w = base[target].to(torch.float32)
        a = adapter[key].to(torch.float32)
        b = adapter[stem + ".lora_B.weight"].to(torch.float32)
        m = adapter[stem + ".lora_magnitude_vector"].to(torch.float32)
        merged[target] = dora_weight(w, a, b, m, scaling).to(base[target].dtype)
    return merged


def run(base_path, adapter_path, cfg, out_path):
    if cfg.get("rank_pattern") or cfg.get("alpha_pattern"):
        raise NotImplementedError("pattern ranks")
    save_file(merge_state(load_file(base_path), load_file(adapter_path), cfg), out_path)
