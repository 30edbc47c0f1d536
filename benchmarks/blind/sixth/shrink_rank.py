# wrong in line 43: the decomposed matrix already carries alpha/rank, yet the old alpha is stored for the new rank
"""Resize adapters (kohya layout) to a smaller dimension by SVD."""
import sys

import torch
from safetensors.torch import load_file, save_file


def triples(state):
    stems = sorted({k.split(".", 1)[0] for k in state})
    for stem in stems:
        down = state[f"{stem}.lora_down.weight"]
        up = state[f"{stem}.lora_up.weight"]
        alpha = state.get(f"{stem}.alpha")
        yield stem, down, up, down.shape[0] if alpha is None else alpha.item()


def full_matrix(down, up, alpha):
    rank = down.shape[0]
    mat = up.flatten(1).float() @ down.flatten(1).float()
    return mat * (alpha / rank)


def truncate(mat, dim):
    u, s, vh = torch.linalg.svd(mat, full_matrices=False)
    dim = min(dim, s.numel())
    root = s[:dim].sqrt()
    return u[:, :dim] * root, root[:, None] * vh[:dim], dim


def energy(mat, left, right):
    return 1.0 - (torch.norm(mat - left @ right) / torch.norm(mat)).item()


def resize(state, dim):
    result, kept = {}, []
    for stem, down, up, alpha in triples(state):
        mat = full_matrix(down, up, alpha)
        left, right, got = truncate(mat, dim)
        kept.append(energy(mat, left, right))
        result[f"{stem}.lora_up.weight"] = left.reshape(left.shape[0], got, *up.shape[2:]).to(up.dtype).contiguous()
        result[f"{stem}.lora_down.weight"] = right.reshape(got, *down.shape[1:]).to(down.dtype).contiguous()
        result[f"{stem}.alpha"] = torch.tensor(float(alpha))
    return result, kept


def main(src, dst, dim):
    state = load_file(src)
    out, kept = resize(state, int(dim))
    print(f"mean kept energy {sum(kept) / max(len(kept), 1):.3f}")
    save_file(out, dst, metadata={"ss_network_dim": str(dim)})


if __name__ == "__main__":
    main(*sys.argv[1:4])
