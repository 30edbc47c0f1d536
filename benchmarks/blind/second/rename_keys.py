# wrong in line 26: the .alpha tensors of the kohya file are skipped and nothing else carries them
import argparse
import json
import pathlib
import re

from safetensors.torch import load_file, save_file

KOHYA = re.compile(r"^lora_unet_(?P<block>.+?)\.(?P<part>lora_down\.weight|lora_up\.weight|alpha)$")
TAILS = {"lora_down.weight": "lora_A.weight", "lora_up.weight": "lora_B.weight"}


def dotted(block):
    block = re.sub(r"_(\d+)_", r".\1.", block)
    return block.replace("to_out_", "to_out.").replace("attn1_", "attn1.").replace("attn2_", "attn2.")


def convert(src):
    dst, ranks = {}, set()
    for name in sorted(src):
        hit = KOHYA.match(name)
        if hit is None:
            raise KeyError(name)
        tail = TAILS.get(hit["part"])
        if tail is None:
            continue
        tensor = src[name]
        if tail.startswith("lora_A"):
            ranks.add(tensor.shape[0])
        dst[f"base_model.model.{dotted(hit['block'])}.{tail}"] = tensor.contiguous()
    if len(ranks) != 1:
        raise ValueError(f"mixed ranks: {sorted(ranks)}")
    return dst, ranks.pop()


if __name__ == "__main__":
    cli = argparse.ArgumentParser()
    cli.add_argument("source", type=pathlib.Path)
    cli.add_argument("folder", type=pathlib.Path)
    ns = cli.parse_args()
    tensors, r = convert(load_file(str(ns.source)))
    ns.folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, str(ns.folder / "adapter_model.safetensors"))
    cfg = {"peft_type": "LORA", "r": r, "lora_alpha": r, "target_modules": ["to_q", "to_k", "to_v", "to_out.0"]}
    (ns.folder / "adapter_config.json").write_text(json.dumps(cfg, indent=2))
