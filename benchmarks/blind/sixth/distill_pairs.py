# silent: the extracted pair reproduces the difference as it is, alpha = rank makes the factor one
import argparse
from concurrent.futures import ThreadPoolExecutor

import torch
from safetensors.torch import load_file, save_file

from typing import Optional


def randomized_split(mat: torch.Tensor, rank: int, iters: int = 2):
    q = min(rank + 8, *mat.shape)
    u, s, v = torch.svd_lowrank(mat, q=q, niter=iters)
    k = min(rank, s.numel())
    root = s[:k].sqrt()
    return u[:, :k] * root, (v[:, :k] * root).T


class Job:
    def __init__(self, key, before, after, rank, share: Optional[float]):
        self.key, self.before, self.after = key, before, after
        self.rank, self.share = rank, share

    def __call__(self):
        diff = (self.after.float() - self.before.float()) * (1.0 if self.share is None else self.share)
        tail = diff.shape[2:]
        b, a = randomized_split(diff.flatten(1), self.rank)
        k = a.shape[0]
        stem = "lora_unet_" + self.key.removesuffix(".weight").replace(".", "_")
        return {
            f"{stem}.lora_up.weight": b.reshape(b.shape[0], k, *[1] * len(tail)).contiguous(),
            f"{stem}.lora_down.weight": a.reshape(k, diff.shape[1], *tail).contiguous(),
            f"{stem}.alpha": torch.tensor(float(k)),
        }


def jobs(before, after, rank, share):
    for key, w in before.items():
        if key.endswith(".weight") and w.dim() in (2, 4) and key in after:
            if not torch.equal(w, after[key]):
                yield Job(key, w, after[key], rank, share)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("before")
    ap.add_argument("after")
    ap.add_argument("out")
    ap.add_argument("--rank", type=int, default=64)
    ap.add_argument("--share", type=float, help="extract only this part of the difference")
    ap.add_argument("--workers", type=int, default=4)
    ns = ap.parse_args()
    before, after = load_file(ns.before), load_file(ns.after)
    result = {}
    with ThreadPoolExecutor(ns.workers) as pool:
        for part in pool.map(lambda job: job(), jobs(before, after, ns.rank, ns.share)):
            result.update(part)
    save_file({k: v.half() if v.dim() else v for k, v in result.items()}, ns.out)


if __name__ == "__main__":
    main()
