# silent: the dense matrix carries alpha/rank, the new pair is stored with alpha equal to the new rank
import sys
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file


class Split(NamedTuple):
    up: torch.Tensor
    down: torch.Tensor
    kept: int


def effective(sd, stem):
    down = sd[stem + ".lora_down.weight"].float()
    up = sd[stem + ".lora_up.weight"].float()
    alpha = sd.get(stem + ".alpha")
    mat = up.flatten(1) @ down.flatten(1)
    if alpha is not None:
        mat *= alpha.item() / down.shape[0]
    return mat, up.shape[2:], down.shape[1:]


def adaptive_rank(s, fraction):
    total = s.square().sum()
    running = s.square().cumsum(0)
    return int((running < fraction * total).sum()) + 1


def split(mat, fraction, limit):
    u, s, vh = torch.linalg.svd(mat, full_matrices=False)
    k = min(adaptive_rank(s, fraction), limit, s.numel())
    return Split(u[:, :k] * s[:k], vh[:k], k)


def compact(sd, fraction=0.95, limit=64):
    out = {}
    for stem in sorted({k.partition(".")[0] for k in sd}):
        mat, up_tail, down_tail = effective(sd, stem)
        part = split(mat, fraction, limit)
        dtype = sd[stem + ".lora_down.weight"].dtype
        out[stem + ".lora_up.weight"] = part.up.reshape(-1, part.kept, *up_tail).to(dtype).contiguous()
        out[stem + ".lora_down.weight"] = part.down.reshape(part.kept, *down_tail).to(dtype).contiguous()
        out[stem + ".alpha"] = torch.tensor(part.kept, dtype=torch.float32)
        print(f"{stem}: {sd[stem + '.lora_down.weight'].shape[0]} -> {part.kept}")
    return out


if __name__ == "__main__":
    source, target, *rest = sys.argv[1:]
    save_file(compact(load_file(source), *(float(r) for r in rest[:1])), target)
