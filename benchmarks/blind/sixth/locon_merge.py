# wrong in line 15: down is (rank, in, kh, kw); down.shape[1] is the channel count, alpha is divided by it
import argparse
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file


def alpha_over_rank(sd, stem, down, up):
    alpha = sd.get(stem + ".alpha")
    if alpha is None:
        return 1.0
    if down.dim() == 4:
        return alpha.item() / down.shape[1]
    return alpha.item() / down.shape[0]


def compose(up, mid, down):
    if mid is not None:
        # tucker form: up (o, r, 1, 1), mid (r, r, kh, kw), down (r, i, 1, 1)
        return torch.einsum("or,rskl,si->oikl", up.flatten(1), mid, down.flatten(1))
    if down.dim() == 2:
        return up @ down
    kernel = F.conv2d(down.permute(1, 0, 2, 3), up)
    return kernel.permute(1, 0, 2, 3)


def merged(base, sd, names, ratio):
    out = dict(base)
    for stem, target in names.items():
        if stem + ".lora_down.weight" not in sd:
            continue
        down = sd[stem + ".lora_down.weight"].float()
        up = sd[stem + ".lora_up.weight"].float()
        mid = sd.get(stem + ".lora_mid.weight")
        if mid is not None:
            mid = mid.float()
        patch = compose(up, mid, down) * alpha_over_rank(sd, stem, down, up)
        w = out[target]
        out[target] = (w.float() + ratio * patch.reshape(w.shape)).to(w.dtype)
    return out


def unet_names(base):
    table = {}
    for key in base:
        if key.endswith(".weight"):
            table["lora_unet_" + key[:-7].replace(".", "_")] = key
    return table


def cli(argv):
    ap = argparse.ArgumentParser()
    ap.add_argument("unet")
    ap.add_argument("locon")
    ap.add_argument("--ratio", type=float, default=1.0)
    ap.add_argument("--save-to", required=True)
    ns = ap.parse_args(argv)
    base = load_file(ns.unet)
    save_file(merged(base, load_file(ns.locon), unet_names(base), ns.ratio), ns.save_to)


if __name__ == "__main__":
    cli(sys.argv[1:])
