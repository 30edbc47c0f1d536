# wrong in line 21: with both sides factored the product is divided by both ranks, one of the divisions is too many
import torch


def side(entry, which):
    full = entry.get(f"lokr_{which}")
    if full is not None:
        return full.float(), None
    a, b = entry[f"lokr_{which}_a"].float(), entry[f"lokr_{which}_b"].float()
    return a @ b, b.shape[0]


def rebuild(entry, shape):
    w1, dim1 = side(entry, "w1")
    w2, dim2 = side(entry, "w2")
    alpha = float(entry["alpha"]) if "alpha" in entry else None
    if alpha is not None:
        if dim1 is not None:
            w1 = w1 * (alpha / dim1)
        if dim2 is not None:
            w2 = w2 * (alpha / dim2)
    if w2.ndim == 4:
        w1 = w1[..., None, None]
    return torch.kron(w1, w2).reshape(shape)


def split(state):
    modules = {}
    for key, tensor in state.items():
        name, field = key.split(".", 1)
        modules.setdefault(name, {})[field] = tensor
    return modules


def merge(weights, state, strength):
    for name, entry in split(state).items():
        if not any(k.startswith("lokr_") for k in entry):
            continue
        weight = weights[name]
        weight += strength * rebuild(entry, weight.shape).to(weight.dtype)
