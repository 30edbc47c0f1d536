# silent: each factor carries the square root of the whole gain, so the product has it once
"""Fold alpha and a user strength into the factors for runtimes that know neither."""
import argparse
import math

import torch
from safetensors.torch import load_file, save_file


def halves(gain):
    """Even split, sign on the outer side."""
    root = math.sqrt(abs(gain))
    return math.copysign(root, gain), root


def prescale(sd, strength):
    out = {}
    for key, inner in sd.items():
        if not key.endswith(".lora_down.weight"):
            continue
        stem = key[: -len(".lora_down.weight")]
        outer = sd[stem + ".lora_up.weight"]
        dim = inner.shape[0]
        alpha = sd[stem + ".alpha"].item() if stem + ".alpha" in sd else dim
        left, right = halves(strength * alpha / dim)
        out[stem + ".lora_B.weight"] = (outer.float() * left).to(outer.dtype)
        out[stem + ".lora_A.weight"] = (inner.float() * right).to(inner.dtype)
    return out


def verify(sd, out, strength):
    worst = 0.0
    for key, inner in sd.items():
        if not key.endswith(".lora_down.weight"):
            continue
        stem = key[: -len(".lora_down.weight")]
        alpha = sd[stem + ".alpha"].item() if stem + ".alpha" in sd else inner.shape[0]
        want = strength * alpha / inner.shape[0] * (
            sd[stem + ".lora_up.weight"].flatten(1).float() @ inner.flatten(1).float()
        )
        got = out[stem + ".lora_B.weight"].flatten(1).float() @ out[stem + ".lora_A.weight"].flatten(1).float()
        worst = max(worst, (want - got).abs().max().item())
    return worst


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("src")
    ap.add_argument("dst")
    ap.add_argument("-s", "--strength", type=float, default=1.0)
    a = ap.parse_args()
    sd = load_file(a.src)
    out = prescale(sd, a.strength)
    print(f"max deviation {verify(sd, out, a.strength):.3e}")
    save_file(out, a.dst, metadata={"scale": "folded"})


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
