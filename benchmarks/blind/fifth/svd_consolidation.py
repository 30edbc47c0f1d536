# wrong in line 59: the SVD factors hold the whole scaled update at the new rank, the alpha of the first input is written beside them
import argparse
import logging

import torch
from safetensors.torch import load_file, save_file
from tqdm import tqdm

log = logging.getLogger(__name__)


def scan(sd):
    return [k[: -len(".lora_down.weight")] for k in sd if k.endswith(".lora_down.weight")]


def alpha_of(sd, stem):
    return float(sd.get(f"{stem}.alpha", sd[f"{stem}.lora_down.weight"].shape[0]))


def full(sd, stem, device):
    down = sd[f"{stem}.lora_down.weight"].to(device).float().flatten(1)
    up = sd[f"{stem}.lora_up.weight"].to(device).float().flatten(1)
    return (alpha_of(sd, stem) / down.shape[0]) * (up @ down)


def factorize(matrix, rank, clamp=0.99):
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    u, s, vh = u[:, :rank], s[:rank], vh[:rank]
    limit = torch.quantile(torch.cat([u.flatten(), vh.flatten()]).abs()[:1_000_000], clamp)
    return (u @ torch.diag(s)).clamp(-limit * s.max(), limit * s.max()), vh.clamp(-limit, limit)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--models", nargs="+", required=True)
    ap.add_argument("--ratios", nargs="+", type=float, required=True)
    ap.add_argument("--rank", type=int, default=32)
    ap.add_argument("--device", default="cpu")
    ap.add_argument("--save_to", required=True)
    args = ap.parse_args()
    logging.basicConfig(level=logging.INFO)
    if len(args.models) != len(args.ratios):
        ap.error("as many ratios as models")

    files = [load_file(m) for m in args.models]
    stems = sorted(set().union(*map(scan, files)))
    out = {}
    for stem in tqdm(stems):
        total, alpha = None, None
        for sd, ratio in zip(files, args.ratios):
            if f"{stem}.lora_down.weight" not in sd:
                continue
            part = ratio * full(sd, stem, args.device)
            total = part if total is None else total + part
            alpha = alpha_of(sd, stem) if alpha is None else alpha
        up, down = factorize(total, min(args.rank, *total.shape))
        out[f"{stem}.lora_up.weight"] = up.half().cpu().contiguous()
        out[f"{stem}.lora_down.weight"] = down.half().cpu().contiguous()
        out[f"{stem}.alpha"] = torch.tensor(alpha).half()
    save_file(out, args.save_to)
    log.info("%d modules", len(stems))


if __name__ == "__main__":
    with torch.no_grad():
        main()
