# wrong in lines 32 and 41: the trainer writes the key "alpha" while load_adapters reads "scale" and falls back to 20.0
import json
import math
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten, tree_unflatten


class LoRALinear(nn.Module):
    def __init__(self, linear, r=8, scale=20.0, dropout=0.0):
        super().__init__()
        out_dims, in_dims = linear.weight.shape
        self.linear = linear
        self.dropout = nn.Dropout(p=dropout)
        self.scale = scale
        bound = 1 / math.sqrt(in_dims)
        self.lora_a = mx.random.uniform(low=-bound, high=bound, shape=(in_dims, r))
        self.lora_b = mx.zeros(shape=(r, out_dims))

    def __call__(self, x):
        y = self.linear(x)
        z = (self.dropout(x) @ self.lora_a) @ self.lora_b
        return y + (self.scale * z).astype(x.dtype)


def linear_to_lora(model, keys, params):
    layers = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and name.split(".")[-1] in keys:
            layers.append((name, LoRALinear(module, params["rank"], params.get("scale", 20.0))))
    model.update_modules(tree_unflatten(layers))


def save_adapters(model, folder, keys, rank, scale):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    mx.save_safetensors(str(folder / "adapters.safetensors"),
                        dict(tree_flatten(model.trainable_parameters())))
    params = {"rank": rank, "alpha": scale, "keys": list(keys)}
    (folder / "adapter_config.json").write_text(json.dumps({"lora_parameters": params}))


def load_adapters(model, folder):
    folder = Path(folder)
    params = json.loads((folder / "adapter_config.json").read_text())["lora_parameters"]
    linear_to_lora(model, params["keys"], params)
    model.load_weights(str(folder / "adapters.safetensors"), strict=False)
    return model
