# silent: alpha / dim is used once and only if some side is factored; with two full sides no dim exists and the scale is 1 by definition
"""Kronecker-factored deltas from LyCORIS-type files."""
import torch


def _side(group, index):
    full = group.get(f"w{index}")
    if full is not None:
        return full.float(), None
    a, b = group[f"w{index}_a"].float(), group[f"w{index}_b"].float()
    core = group.get(f"t{index}")
    if core is None:
        return a @ b, b.shape[0]
    return torch.einsum("ijkl,ip,jr->prkl", core.float(), a, b), b.shape[0]


def kron_delta(group):
    """`group`: the tensors of one module without the `lokr_` prefix."""
    first, dim_1 = _side(group, 1)
    second, dim_2 = _side(group, 2)
    dim = dim_2 if dim_2 is not None else dim_1
    if dim is None or "alpha" not in group:
        scale = 1.0
    else:
        scale = float(group["alpha"]) / dim
    while first.dim() < second.dim():
        first = first.unsqueeze(-1)
    return torch.kron(first, second) * scale


def group_modules(state_dict):
    groups = {}
    for key, tensor in state_dict.items():
        name, leaf = key.split(".", 1)
        groups.setdefault(name, {})[leaf.removeprefix("lokr_")] = tensor
    return groups


def to_dense(state_dict, shapes, dtype=torch.float16):
    """Flatten a file to `.diff` tensors, which loaders add without alpha."""
    dense = {}
    for name, group in group_modules(state_dict).items():
        dense[f"{name}.diff"] = kron_delta(group).reshape(shapes[name]).to(dtype)
    return dense
