# silent: the difference of two models has no scale; alpha is written as the rank so loaders get factor 1
import argparse

import torch
from safetensors.torch import load_file, save_file


def extract(delta, rank, clamp=0.99):
    u, s, vh = torch.linalg.svd(delta.float(), full_matrices=False)
    rank = min(rank, min(delta.shape))
    u = u[:, :rank] @ torch.diag(s[:rank])
    vh = vh[:rank]
    dist = torch.cat([u.flatten(), vh.flatten()])
    hi = torch.quantile(dist[:1_000_000], clamp)
    return u.clamp(-hi, hi), vh.clamp(-hi, hi)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--org", required=True)
    p.add_argument("--tuned", required=True)
    p.add_argument("--dim", type=int, default=32)
    p.add_argument("--min_diff", type=float, default=1e-4)
    p.add_argument("--out", required=True)
    args = p.parse_args()

    org, tuned = load_file(args.org), load_file(args.tuned)
    result = {}
    for key, w in org.items():
        if w.dim() != 2 or not key.endswith(".weight") or key not in tuned:
            continue
        delta = tuned[key].float() - w.float()
        if delta.abs().max() < args.min_diff:
            continue
        up, down = extract(delta, args.dim)
        name = "lora_unet_" + key[: -len(".weight")].replace(".", "_")
        result[name + ".lora_up.weight"] = up.contiguous()
        result[name + ".lora_down.weight"] = down.contiguous()
        result[name + ".alpha"] = torch.tensor(down.size(0), dtype=torch.float32)
    save_file(result, args.out)


if __name__ == "__main__":
    main()
