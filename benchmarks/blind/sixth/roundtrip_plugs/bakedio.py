"""Files without any alpha: the factor is inside the up matrix."""
import torch
from safetensors.torch import load_file, save_file

from plugs import plugs_of


def save(model, path):
    tensors = {}
    for name, plug in plugs_of(model).items():
        tensors[f"{name}/down"] = plug.down.detach().clone()
        tensors[f"{name}/up"] = plug.up.detach() * (plug.alpha / plug.rank)
    save_file(tensors, path, metadata={"layout": "baked"})


@torch.no_grad()
def apply_file(model, path):
    tensors = load_file(path)
    for key, down in tensors.items():
        name, _, kind = key.rpartition("/")
        if kind == "down":
            model.get_submodule(name).weight.add_(tensors[f"{name}/up"] @ down)
    return model
