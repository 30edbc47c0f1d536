# silent: pure renaming, the tensors stay untouched and the .alpha of every module goes along with its weights
"""Rename the keys of a text-encoder + UNet LoRA between the two webui layouts."""
import argparse
import logging
import re
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file

log = logging.getLogger("rename")

FIELDS = {
    "lora_down.weight": "lora_A.weight",
    "lora_up.weight": "lora_B.weight",
    "lora_mid.weight": "lora_mid.weight",
    "dora_scale": "dora_scale",
    "alpha": "alpha",
}
BACK = {new: old for old, new in FIELDS.items()}

RULES = [
    (re.compile(r"^lora_te1_text_model_"), "clip_l.transformer.text_model_"),
    (re.compile(r"^lora_te2_text_model_"), "clip_g.transformer.text_model_"),
    (re.compile(r"^lora_te_text_model_"), "clip_l.transformer.text_model_"),
    (re.compile(r"^lora_unet_"), "unet."),
]


def split(key, fields):
    for field in sorted(fields, key=len, reverse=True):
        if key.endswith("." + field):
            return key[: -len(field) - 1], field
    raise ValueError(f"unknown kind of tensor: {key}")


def forward(module):
    for rule, replacement in RULES:
        new, n = rule.subn(replacement, module)
        if n:
            return new
    raise ValueError(f"unknown module: {module}")


def backward(module, sdxl):
    te = ("lora_te1_", "lora_te2_") if sdxl else ("lora_te_", None)
    for old, new in (("clip_l.transformer.", te[0]), ("clip_g.transformer.", te[1]), ("unet.", "lora_unet_")):
        if module.startswith(old) and new is not None:
            return new + module[len(old):]
    raise ValueError(f"unknown module: {module}")


def rename(state, to_kohya=False):
    fields = BACK if to_kohya else FIELDS
    sdxl = any(k.startswith("clip_g.") for k in state)
    out = {}
    for key, tensor in state.items():
        module, field = split(key, fields)
        name = backward(module, sdxl) if to_kohya else forward(module)
        new = f"{name}.{fields[field]}"
        if new in out:
            raise ValueError(f"two tensors map to {new}")
        out[new] = tensor
    return out


def main():
    logging.basicConfig(level=logging.INFO)
    ap = argparse.ArgumentParser()
    ap.add_argument("src", type=Path)
    ap.add_argument("dst", type=Path)
    ap.add_argument("--to-kohya", action="store_true")
    args = ap.parse_args()
    with safe_open(args.src, framework="pt") as f:
        metadata = f.metadata() or {}
        state = {k: f.get_tensor(k) for k in f.keys()}
    out = rename(state, args.to_kohya)
    assert len(out) == len(state)
    save_file(out, args.dst, metadata=metadata)
    log.info("%d tensors", len(out))


if __name__ == "__main__":
    main()
