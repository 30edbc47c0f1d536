"""Split a network file into matrices and per-module alphas."""
from safetensors.torch import load_file


def parse(path):
    """Returns (matrices, alphas); alphas has a float for each module that stores one."""
    matrices, alphas = {}, {}
    for key, tensor in load_file(path).items():
        module, _, leaf = key.partition(".")
        if leaf == "alpha":
            alphas[module] = tensor.float().item()
        elif tensor.ndim >= 2:
            matrices.setdefault(module, {})[leaf] = tensor
    return matrices, alphas
