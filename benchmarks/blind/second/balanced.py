# silent: the factor is shared as a square root over both sides and a negative sign goes on up only
import argparse
import re

from safetensors.torch import load_file, save_file

UNIT = re.compile(r"(.+)\.lora_down\.weight$")


def shares(value):
    root = abs(value) ** 0.5
    return root, (-root if value < 0 else root)


def rewrite(state, strength):
    """kohya names in, lora_A / lora_B out; readers of the output assume alpha == rank."""
    out = {}
    for key, down in state.items():
        hit = UNIT.match(key)
        if hit is None:
            continue
        name = hit.group(1)
        up = state[f"{name}.lora_up.weight"]
        factor = strength
        if f"{name}.alpha" in state:
            factor *= state[f"{name}.alpha"].item() / down.shape[0]
        left, right = shares(factor)
        out[f"transformer.{name}.lora_A.weight"] = (down.float() * left).to(down.dtype)
        out[f"transformer.{name}.lora_B.weight"] = (up.float() * right).to(up.dtype)
    return out


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("src")
    parser.add_argument("dst")
    parser.add_argument("--strength", type=float, default=1.0)
    args = parser.parse_args()
    save_file(rewrite(load_file(args.src), args.strength), args.dst)
