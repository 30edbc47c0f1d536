# wrong in lines 26 and 27: scale multiplies both Hadamard factors, the product then has it squared
"""Expand LoHa files into full differences."""
import argparse

import torch
from safetensors.torch import load_file, save_file


def tucker(t, wa, wb):
    return torch.einsum("ijkl,jr,ip->prkl", t, wb, wa)


def side(sd, stem, n):
    wa = sd[f"{stem}.hada_w{n}_a"].float()
    wb = sd[f"{stem}.hada_w{n}_b"].float()
    core = sd.get(f"{stem}.hada_t{n}")
    if core is not None:
        return tucker(core.float(), wa, wb)
    return wa @ wb


def expand(sd, stem):
    dim = sd[f"{stem}.hada_w1_b"].shape[0]
    alpha = sd.get(f"{stem}.alpha")
    scale = 1.0 if alpha is None else float(alpha) / dim
    first = side(sd, stem, 1) * scale
    second = side(sd, stem, 2) * scale
    return first * second


def stems(sd):
    return sorted(k.removesuffix(".hada_w1_a") for k in sd if k.endswith(".hada_w1_a"))


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("src")
    ap.add_argument("dst")
    ap.add_argument("--dtype", default="float16")
    args = ap.parse_args()

    sd = load_file(args.src)
    dtype = getattr(torch, args.dtype)
    out = {}
    for stem in stems(sd):
        full = expand(sd, stem)
        out[f"{stem}.diff"] = full.to(dtype).contiguous()
    for key, value in sd.items():
        if key.endswith((".w_norm", ".b_norm")):
            out[key] = value
    save_file(out, args.dst)
    size = sum(v.numel() * v.element_size() for v in out.values())
    print(f"{len(out)} differences, {size / 2**20:.0f} MiB")


if __name__ == "__main__":
    with torch.inference_mode():
        main()
