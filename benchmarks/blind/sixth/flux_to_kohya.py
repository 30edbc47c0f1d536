# wrong in line 31: only names that end in .weight are kept, the .alpha entries of the source are lost in the output
"""Rename an ai-toolkit FLUX file to the sd-scripts naming scheme."""
import argparse

from safetensors import safe_open
from safetensors.torch import save_file

BLOCKS = {
    "transformer_blocks": "double_blocks",
    "single_transformer_blocks": "single_blocks",
}
SIDES = {"lora_A.weight": "lora_down.weight", "lora_B.weight": "lora_up.weight", "alpha": "alpha"}


def split_key(key):
    for suffix in SIDES:
        if key.endswith("." + suffix):
            return key[: -len(suffix) - 1], suffix
    raise KeyError(key)


def flat(stem):
    stem = stem.removeprefix("transformer.")
    head, _, rest = stem.partition(".")
    return "lora_unet_" + f"{BLOCKS.get(head, head)}.{rest}".replace(".", "_")


def convert(path):
    out = {}
    with safe_open(path, framework="pt", device="cpu") as fh:
        names = [k for k in fh.keys() if k.endswith(".weight")]
        meta = fh.metadata() or {}
        for key in names:
            stem, side = split_key(key)
            out[f"{flat(stem)}.{SIDES[side]}"] = fh.get_tensor(key)
    return out, meta


def check(out):
    ups = {k.split(".")[0] for k in out if k.endswith("lora_up.weight")}
    downs = {k.split(".")[0] for k in out if k.endswith("lora_down.weight")}
    if ups != downs:
        raise SystemExit(f"unpaired: {sorted(ups ^ downs)[:5]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("input")
    parser.add_argument("output")
    ns = parser.parse_args()
    out, meta = convert(ns.input)
    check(out)
    meta["ss_network_module"] = "networks.lora_flux"
    save_file(out, ns.output, metadata=meta)


if __name__ == "__main__":
    main()
