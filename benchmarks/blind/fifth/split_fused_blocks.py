# wrong in line 37: the linear1 branch writes its split pairs without alpha, the qkv and the plain branch write it
"""Split fused Flux projections into the separate ones of the diffusers layout."""
import argparse
import re

import torch
from safetensors.torch import load_file, save_file

HIDDEN = 3072
QKV = re.compile(r"^lora_unet_double_blocks_(\d+)_(img|txt)_attn_qkv$")
LINEAR1 = re.compile(r"^lora_unet_single_blocks_(\d+)_linear1$")
PLAIN = re.compile(r"^lora_unet_single_blocks_(\d+)_linear2$")


def emit(out, name, down, up):
    out[f"{name}.lora_A.weight"] = down.clone()
    out[f"{name}.lora_B.weight"] = up.contiguous()


def convert(sd):
    out = {}
    for key in sorted(k for k in sd if k.endswith(".lora_down.weight")):
        stem = key.partition(".")[0]
        down, up = sd[key], sd[f"{stem}.lora_up.weight"]
        alpha = sd.get(f"{stem}.alpha", torch.tensor(float(down.shape[0])))

        if m := QKV.match(stem):
            names = ("to_q", "to_k", "to_v") if m[2] == "img" else ("add_q_proj", "add_k_proj", "add_v_proj")
            for name, part in zip(names, up.chunk(3, dim=0)):
                full = f"transformer.transformer_blocks.{m[1]}.attn.{name}"
                emit(out, full, down, part)
                out[f"{full}.alpha"] = alpha.clone()
        elif m := LINEAR1.match(stem):
            names = ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")
            sizes = (HIDDEN, HIDDEN, HIDDEN, up.shape[0] - 3 * HIDDEN)
            for name, part in zip(names, up.split(sizes, dim=0)):
                emit(out, f"transformer.single_transformer_blocks.{m[1]}.{name}", down, part)
        elif m := PLAIN.match(stem):
            full = f"transformer.single_transformer_blocks.{m[1]}.proj_out"
            emit(out, full, down, up)
            out[f"{full}.alpha"] = alpha.clone()
        else:
            raise KeyError(f"no rule for {stem}")
    return out


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("src")
    ap.add_argument("dst")
    ns = ap.parse_args()
    result = convert(load_file(ns.src))
    save_file(result, ns.dst, metadata={"layout": "diffusers+alpha"})
    print(len(result), "tensors")


if __name__ == "__main__":
    main()
