# silent: the alpha of the fused qkv is copied to the parts, which share the same rank
import sys

import torch
from safetensors.torch import load_file, save_file

FUSED = {
    "img_attn_qkv": ("attn_to_q", "attn_to_k", "attn_to_v"),
    "txt_attn_qkv": ("attn_add_q_proj", "attn_add_k_proj", "attn_add_v_proj"),
}


def split_fused(sd):
    result = {}
    for key, value in sd.items():
        name, _, kind = key.partition(".")
        fused = next((f for f in FUSED if name.endswith(f)), None)
        if fused is None:
            result[key] = value
            continue
        prefix = name[: -len(fused)]
        parts = FUSED[fused]
        if kind == "lora_up.weight":
            for part, chunk in zip(parts, value.chunk(3, dim=0)):
                result[f"{prefix}{part}.{kind}"] = chunk.contiguous()
        elif kind in ("lora_down.weight", "alpha"):
            for part in parts:
                result[f"{prefix}{part}.{kind}"] = value.clone()
        else:
            raise ValueError(f"cannot split {key}")
    return result


if __name__ == "__main__":
    source, target = sys.argv[1:]
    out = split_fused(load_file(source))
    ups = sum(k.endswith("lora_up.weight") for k in out)
    print(f"{ups} modules")
    save_file(out, target)
