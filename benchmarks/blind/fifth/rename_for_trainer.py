# silent: alpha, dora_scale and factor keys all share the stem that the tables rewrite, nothing is lost
import re
import sys

from safetensors import safe_open
from safetensors.torch import save_file

TABLE = [
    (re.compile(r"^lora_unet_double_blocks_(\d+)_img_attn_qkv\."), r"double_blocks.\1.img_attn.qkv."),
    (re.compile(r"^lora_unet_double_blocks_(\d+)_txt_attn_qkv\."), r"double_blocks.\1.txt_attn.qkv."),
    (re.compile(r"^lora_unet_single_blocks_(\d+)_linear([12])\."), r"single_blocks.\1.linear\2."),
    (re.compile(r"^lora_unet_final_layer_linear\."), r"final_layer.linear."),
]
TAILS = {
    "lora_down.weight": "lora_A.weight",
    "lora_up.weight": "lora_B.weight",
    "alpha": "alpha",
    "dora_scale": "dora_scale",
}


def rename(key):
    for pattern, repl in TABLE:
        new, hits = pattern.subn(repl, key)
        if hits:
            break
    else:
        raise KeyError(f"unknown module in {key}")
    for old, fresh in TAILS.items():
        if new.endswith("." + old):
            return "diffusion_model." + new[: -len(old)] + fresh
    raise KeyError(f"unknown tail in {key}")


def main(src, dst):
    out = {}
    with safe_open(src, framework="pt") as f:
        meta = f.metadata() or {}
        for key in f.keys():
            out[rename(key)] = f.get_tensor(key)
    n_factor = sum(k.endswith("lora_A.weight") for k in out)
    n_alpha = sum(k.endswith(".alpha") for k in out)
    if n_alpha not in (0, n_factor):
        raise SystemExit(f"{n_alpha} alphas for {n_factor} pairs")
    save_file(out, dst, metadata=meta)
    print(f"{len(out)} tensors written to {dst}")


if __name__ == "__main__":
    main(*sys.argv[1:3])
