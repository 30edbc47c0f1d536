# wrong in line 27: rows are dropped by importance and the old alpha is divided by the smaller rank, which raises the scale
import torch
from safetensors.torch import load_file, save_file


class Pair:
    def __init__(self, A, B, alpha):
        self.A, self.B, self.alpha = A, B, alpha

    @property
    def rank(self):
        return self.A.shape[0]

    @property
    def scale(self):
        return self.alpha / self.rank

    def importance(self):
        return self.A.norm(dim=1) * self.B.norm(dim=0)

    def delta(self):
        return self.scale * (self.B @ self.A)

    def pruned(self, keep):
        keep = min(keep, self.rank)
        idx = self.importance().topk(keep).indices.sort().values
        return Pair(self.A[idx], self.B[:, idx], self.alpha)


def read(path):
    sd = load_file(path)
    pairs = {}
    for name in {k.split("|")[0] for k in sd}:
        pairs[name] = Pair(sd[f"{name}|lora_A"], sd[f"{name}|lora_B"], sd[f"{name}|alpha"].item())
    return pairs


def write(pairs, path):
    sd = {}
    for name, p in pairs.items():
        sd[f"{name}|lora_A"] = p.A.contiguous()
        sd[f"{name}|lora_B"] = p.B.contiguous()
        sd[f"{name}|alpha"] = torch.tensor(float(p.alpha))
    save_file(sd, path)


def prune_file(src, dst, keep=4):
    pairs = read(src)
    small = {name: p.pruned(keep) for name, p in pairs.items()}
    before = sum(p.rank for p in pairs.values())
    after = sum(p.rank for p in small.values())
    print(f"{before} -> {after} directions")
    write(small, dst)


if __name__ == "__main__":
    import argparse

    ap = argparse.ArgumentParser()
    ap.add_argument("src")
    ap.add_argument("dst")
    ap.add_argument("--keep", type=int, default=4)
    prune_file(**vars(ap.parse_args()))
