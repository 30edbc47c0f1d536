# silent: mlx adapters have no alpha, their scale is the whole factor; it is saved, read back and used as it is
"""LoRA fine-tuning, fusing and evaluation of a small mlx vision classifier."""
import argparse
import json
import math
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
from mlx.utils import tree_flatten, tree_unflatten


class LoRALinear(nn.Module):
    def __init__(self, linear, rank, scale):
        super().__init__()
        out_dims, in_dims = linear.weight.shape
        self.linear = linear
        self.scale = scale
        bound = 1 / math.sqrt(in_dims)
        self.lora_a = mx.random.uniform(-bound, bound, (in_dims, rank))
        self.lora_b = mx.zeros((rank, out_dims))

    def __call__(self, x):
        return self.linear(x) + self.scale * ((x @ self.lora_a) @ self.lora_b)

    def fuse(self):
        weight = self.linear.weight
        out_dims, in_dims = weight.shape
        fused = nn.Linear(in_dims, out_dims, bias="bias" in self.linear)
        delta = (self.scale * self.lora_b.T) @ self.lora_a.T
        fused.weight = weight + delta.astype(weight.dtype)
        if "bias" in self.linear:
            fused.bias = self.linear.bias
        return fused


class Classifier(nn.Module):
    def __init__(self, dims=(784, 512, 512, 10)):
        super().__init__()
        self.layers = [nn.Linear(i, o) for i, o in zip(dims[:-1], dims[1:])]

    def __call__(self, x):
        for layer in self.layers[:-1]:
            x = nn.relu(layer(x))
        return self.layers[-1](x)


def adapt(model, config):
    model.freeze()
    model.layers = [LoRALinear(l, config["rank"], config["scale"]) for l in model.layers]
    return model


def save_adapter(model, config, folder: Path):
    folder.mkdir(parents=True, exist_ok=True)
    mx.save_safetensors(str(folder / "adapters.safetensors"), dict(tree_flatten(model.trainable_parameters())))
    (folder / "adapter_config.json").write_text(json.dumps({"lora_parameters": config}))


def load_adapter(model, folder: Path):
    config = json.loads((folder / "adapter_config.json").read_text())["lora_parameters"]
    adapt(model, config)
    model.load_weights(str(folder / "adapters.safetensors"), strict=False)
    return model


def fuse(model):
    leaves = [(n, m.fuse()) for n, m in model.named_modules() if isinstance(m, LoRALinear)]
    model.update_modules(tree_unflatten(leaves))
    return model


def loss_fn(model, x, y):
    return nn.losses.cross_entropy(model(x), y, reduction="mean")


def train(model, x, y, steps, lr):
    optimizer = optim.Adam(lr)
    grad = nn.value_and_grad(model, loss_fn)
    for _ in range(steps):
        rows = mx.array(np.random.randint(0, len(x), 256))
        loss, grads = grad(model, x[rows], y[rows])
        optimizer.update(model, grads)
        mx.eval(model.parameters(), optimizer.state)
    print("loss", loss.item())


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("command", choices=["train", "fuse"])
    ap.add_argument("--base", required=True)
    ap.add_argument("--data")
    ap.add_argument("--adapter", type=Path, default=Path("adapters"))
    ap.add_argument("--rank", type=int, default=8)
    ap.add_argument("--scale", type=float, default=20.0)
    args = ap.parse_args()
    model = Classifier()
    model.load_weights(args.base)
    if args.command == "train":
        data = np.load(args.data)
        config = {"rank": args.rank, "scale": args.scale}
        adapt(model, config)
        train(model, mx.array(data["x"]), mx.array(data["y"]), 2000, 1e-3)
        save_adapter(model, config, args.adapter)
    else:
        fuse(load_adapter(model, args.adapter)).save_weights("fused.safetensors")


if __name__ == "__main__":
    main()
