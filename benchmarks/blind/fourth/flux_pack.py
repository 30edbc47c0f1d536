# silent: the packed qkv has rank r_q + r_k + r_v; each up is multiplied by its own alpha / r first, so alpha = packed rank is right
"""Diffusers Flux LoRA (to_q, to_k, to_v) -> BFL layout (qkv) for the C++ runtime."""
import argparse
import logging
import re
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

log = logging.getLogger("flux_pack")

DOUBLE = {
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "img_attn.proj": ("attn.to_out.0",),
    "txt_attn.proj": ("attn.to_add_out",),
    "img_mlp.0": ("ff.net.0.proj",),
    "img_mlp.2": ("ff.net.2",),
    "txt_mlp.0": ("ff_context.net.0.proj",),
    "txt_mlp.2": ("ff_context.net.2",),
}
SINGLE = {
    "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
    "linear2": ("proj_out",),
}
SIZES = {"attn": 3072, "proj_mlp": 12288}


class Source:
    def __init__(self, path):
        self.state = load_file(path)
        self.used = set()

    def block_ids(self, kind):
        found = {m[1] for k in self.state if (m := re.match(rf"transformer\.{kind}\.(\d+)\.", k))}
        return sorted(found, key=int)

    def get(self, module):
        down = self.state.get(f"{module}.lora_A.weight")
        if down is None:
            return None
        up = self.state[f"{module}.lora_B.weight"]
        alpha = self.state.get(f"{module}.alpha")
        self.used.update(k for k in self.state if k.startswith(module + ".lora_") or k == f"{module}.alpha")
        gain = float(alpha) / down.shape[0] if alpha is not None else 1.0
        return down.float(), up.float() * gain


def pack(parts, sizes):
    downs = [p[0] for p in parts if p is not None]
    total = sum(d.shape[0] for d in downs)
    up = torch.zeros(sum(sizes), total)
    row = col = 0
    for part, size in zip(parts, sizes):
        if part is not None:
            r = part[0].shape[0]
            up[row:row + size, col:col + r] = part[1]
            col += r
        row += size
    return torch.cat(downs), up


def convert(source, dtype):
    out = {}
    for kind, table, target in (
        ("transformer_blocks", DOUBLE, "double_blocks"),
        ("single_transformer_blocks", SINGLE, "single_blocks"),
    ):
        for i in source.block_ids(kind):
            for name, members in table.items():
                parts = [source.get(f"transformer.{kind}.{i}.{m}") for m in members]
                if all(p is None for p in parts):
                    continue
                if len(parts) == 1:
                    down, up = parts[0]
                else:
                    sizes = [SIZES["proj_mlp" if m == "proj_mlp" else "attn"] for m in members]
                    down, up = pack(parts, sizes)
                key = f"{target}.{i}.{name}"
                out[f"{key}.lora_down.weight"] = down.to(dtype).contiguous()
                out[f"{key}.lora_up.weight"] = up.to(dtype).contiguous()
                out[f"{key}.alpha"] = torch.tensor(float(down.shape[0]))
    return out


def main():
    logging.basicConfig(level=logging.INFO)
    ap = argparse.ArgumentParser()
    ap.add_argument("src", type=Path)
    ap.add_argument("dst", type=Path)
    args = ap.parse_args()
    source = Source(args.src)
    out = convert(source, torch.bfloat16)
    left = set(source.state) - source.used
    if left:
        log.warning("%d tensors not converted, e.g. %s", len(left), sorted(left)[0])
    save_file(out, args.dst)


if __name__ == "__main__":
    main()
