# wrong in line 57: the filter lets only keys with "lora_" in the suffix through, so every .alpha is dropped and the result loads at scale 1
"""Convert a kohya UNet LoRA into the diffusers layout."""
import argparse
import re
import sys
from collections import Counter

from safetensors.torch import load_file, save_file

BLOCK = re.compile(r"^(down|up)_blocks_(\d+)_(attentions|resnets)_(\d+)_(.*)$")
MID = re.compile(r"^mid_block_(attentions|resnets)_(\d+)_(.*)$")
TAIL = {
    "proj_in": "proj_in",
    "proj_out": "proj_out",
    "ff_net_0_proj": "ff.net.0.proj",
    "ff_net_2": "ff.net.2",
    "attn1_to_q": "attn1.to_q",
    "attn1_to_k": "attn1.to_k",
    "attn1_to_v": "attn1.to_v",
    "attn1_to_out_0": "attn1.to_out.0",
    "attn2_to_q": "attn2.to_q",
    "attn2_to_k": "attn2.to_k",
    "attn2_to_v": "attn2.to_v",
    "attn2_to_out_0": "attn2.to_out.0",
}
SUFFIX = {
    "lora_down.weight": "lora.down.weight",
    "lora_up.weight": "lora.up.weight",
    "alpha": "alpha",
}


def tail_path(text):
    m = re.match(r"^transformer_blocks_(\d+)_(.*)$", text)
    if m:
        return f"transformer_blocks.{m[1]}.{TAIL[m[2]]}"
    return TAIL[text]


def module_path(name):
    m = BLOCK.match(name)
    if m:
        return f"{m[1]}_blocks.{m[2]}.{m[3]}.{m[4]}.{tail_path(m[5])}"
    m = MID.match(name)
    if m:
        return f"mid_block.{m[1]}.{m[2]}.{tail_path(m[3])}"
    raise KeyError(name)


def convert(state):
    out, skipped = {}, Counter()
    for key, tensor in state.items():
        name, _, suffix = key.partition(".")
        if not name.startswith("lora_unet_"):
            skipped["not unet"] += 1
            continue
        if "lora_" not in suffix:
            skipped["other"] += 1
            continue
        try:
            path = module_path(name.removeprefix("lora_unet_"))
        except KeyError:
            skipped["unknown module"] += 1
            continue
        out[f"unet.{path}.{SUFFIX[suffix]}"] = tensor
    return out, skipped


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("src")
    parser.add_argument("dst")
    parser.add_argument("-q", "--quiet", action="store_true")
    args = parser.parse_args()
    out, skipped = convert(load_file(args.src))
    if not out:
        sys.exit("nothing to convert: is this an SD 1.x / SDXL UNet LoRA?")
    save_file(out, args.dst, metadata={"format": "pt"})
    if not args.quiet:
        print(f"{len(out)} tensors written, skipped: {dict(skipped)}")


if __name__ == "__main__":
    main()
