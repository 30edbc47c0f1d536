# silent: scale is the direct multiplier, the saved scale is the one that the layers use
import json
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten


class Tuned(nn.Module):
    def __init__(self, base, rank, scale):
        super().__init__()
        out_dims, in_dims = base.weight.shape
        self.base = base
        self.scale = scale
        self.lora_a = mx.random.normal((in_dims, rank)) * in_dims**-0.5
        self.lora_b = mx.zeros((rank, out_dims))

    def __call__(self, x):
        return self.base(x) + self.scale * ((x @ self.lora_a) @ self.lora_b)

    def fuse(self):
        w = self.base.weight
        self.base.weight = w + ((self.scale * self.lora_b.T) @ self.lora_a.T).astype(w.dtype)
        return self.base


def tune(model, blocks, rank=8, alpha=16.0):
    scale = alpha / rank
    model.freeze()
    for layer in model.layers[-blocks:]:
        layer.self_attn.q_proj = Tuned(layer.self_attn.q_proj, rank, scale)
        layer.self_attn.v_proj = Tuned(layer.self_attn.v_proj, rank, scale)
    return {"rank": rank, "scale": scale, "dropout": 0.0}


def save(model, parameters, blocks, folder):
    folder = Path(folder)
    mx.save_safetensors(str(folder / "adapters.safetensors"), dict(tree_flatten(model.trainable_parameters())))
    config = {"fine_tune_type": "lora", "num_layers": blocks, "lora_parameters": parameters}
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2))
