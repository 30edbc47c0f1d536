# wrong in line 28: scale was alpha / rank, but the loop rebinds it to the row scale of the quantised weight before the delta is scaled
"""Fold adapter branches into an int8 checkpoint (one scale per output row)."""
import argparse

import torch


def quantize(weight):
    scale = weight.abs().amax(dim=1, keepdim=True).clamp_min(1e-8) / 127
    return torch.round(weight / scale).to(torch.int8), scale


def dequantize(q, scale):
    return q.float() * scale


def fold(checkpoint, branches, alpha, rank, strength=1.0):
    """checkpoint: {name: {"q": int8, "scale": (out, 1)}}; branches: {name: (down, up)}."""
    scale = strength * alpha / rank
    result = dict(checkpoint)
    for name, (down, up) in branches.items():
        if name not in checkpoint:
            raise KeyError(name)
        entry = checkpoint[name]
        q, scale = entry["q"], entry["scale"]
        weight = dequantize(q, scale)
        delta = up.float() @ down.float()
        weight = weight + scale * delta
        new_q, new_scale = quantize(weight)
        result[name] = {"q": new_q, "scale": new_scale}
    return result


def report(before, after):
    for name in after:
        a = dequantize(**before[name])
        b = dequantize(**after[name])
        change = (b - a).norm() / a.norm()
        if change > 0:
            print(f"{name:60s} {change:.4f}")


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("checkpoint")
    ap.add_argument("branches")
    ap.add_argument("out")
    ap.add_argument("--strength", type=float, default=1.0)
    ns = ap.parse_args()
    checkpoint = torch.load(ns.checkpoint)
    blob = torch.load(ns.branches)
    folded = fold(checkpoint, blob["layers"], blob["alpha"], blob["rank"], ns.strength)
    report(checkpoint, folded)
    torch.save(folded, ns.out)


if __name__ == "__main__":
    main()
