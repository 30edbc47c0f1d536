# silent: alpha keys are dropped only after each was checked to equal the rank, anything else is refused
import argparse
import re
import sys

from safetensors.torch import load_file, save_file

RULES = [
    (r"^lora_unet_blocks_(\d+)_self_attn_(q|k|v)", r"transformer.blocks.\1.attn1.to_\2"),
    (r"^lora_unet_blocks_(\d+)_self_attn_o", r"transformer.blocks.\1.attn1.to_out.0"),
    (r"^lora_unet_blocks_(\d+)_cross_attn_(q|k|v)", r"transformer.blocks.\1.attn2.to_\2"),
    (r"^lora_unet_blocks_(\d+)_cross_attn_o", r"transformer.blocks.\1.attn2.to_out.0"),
    (r"^lora_unet_blocks_(\d+)_ffn_0", r"transformer.blocks.\1.ffn.net.0.proj"),
    (r"^lora_unet_blocks_(\d+)_ffn_2", r"transformer.blocks.\1.ffn.net.2"),
]
COMPILED = [(re.compile(p + "$"), r) for p, r in RULES]


class Refused(Exception):
    pass


def rename(stem):
    for pattern, repl in COMPILED:
        if pattern.match(stem):
            return pattern.sub(repl, stem)
    raise Refused(f"no rule for {stem}")


def demand_unit_gain(sd):
    """The target layout has no place for alpha."""
    for key in [k for k in sd if k.endswith(".alpha")]:
        stem = key[: -len(".alpha")]
        rank = sd[f"{stem}.lora_down.weight"].shape[0]
        if sd[key].item() != rank:
            raise Refused(f"{stem}: alpha {sd[key].item():g} at rank {rank}, fold it first")


def convert(sd):
    demand_unit_gain(sd)
    out = {}
    for key, value in sd.items():
        stem, _, tail = key.partition(".")
        if tail == "alpha":
            continue
        side = {"lora_down.weight": "lora_A", "lora_up.weight": "lora_B"}.get(tail)
        if side is None:
            raise Refused(f"cannot place {key}")
        out[f"{rename(stem)}.{side}.weight"] = value.contiguous()
    return out


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("src")
    ap.add_argument("dst")
    ns = ap.parse_args()
    try:
        out = convert(load_file(ns.src))
    except Refused as err:
        sys.exit(f"refused: {err}")
    save_file(out, ns.dst)
    print(f"{len(out) // 2} modules")


if __name__ == "__main__":
    main()
