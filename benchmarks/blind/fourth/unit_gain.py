# silent: alpha / rank is 1 for every adapter this runner accepts (anything else is refused), so leaving the factor out is exact
"""Minimal CPU runner for our speech adapters (Whisper encoder, numpy only)."""
import argparse
import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file


class UnsupportedAdapter(ValueError):
    pass


class Adapter:
    """The kernels have no slot for a gain, so only unit-gain adapters run here."""

    def __init__(self, folder: Path):
        config = json.loads((folder / "adapter_config.json").read_text())
        if config["lora_alpha"] != config["r"]:
            raise UnsupportedAdapter(
                f"lora_alpha={config['lora_alpha']} and r={config['r']}: re-export the adapter with unit gain"
            )
        for name in ("rank_pattern", "alpha_pattern"):
            if config.get(name):
                raise UnsupportedAdapter(f"{name} is not supported")
        for name in ("use_rslora", "use_dora"):
            if config.get(name):
                raise UnsupportedAdapter(f"{name} is not supported")
        self.pairs = {}
        tensors = load_file(folder / "adapter_model.safetensors")
        for key, a in tensors.items():
            if key.endswith(".lora_A.weight"):
                stem = key.removesuffix(".lora_A.weight")
                path = stem.removeprefix("base_model.model.")
                self.pairs[path] = (a.T.copy(), tensors[f"{stem}.lora_B.weight"].T.copy())

    def __call__(self, path, x):
        pair = self.pairs.get(path)
        if pair is None:
            return 0.0
        a, b = pair
        return (x @ a) @ b


class Linear:
    def __init__(self, path, weights, adapter=None):
        self.path = path
        self.w = weights[f"{path}.weight"].T.copy()
        self.b = weights.get(f"{path}.bias", 0.0)
        self.adapter = adapter

    def __call__(self, x):
        y = x @ self.w + self.b
        if self.adapter is not None:
            y = y + self.adapter(self.path, x)
        return y


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


class Attention:
    def __init__(self, path, weights, heads, adapter):
        self.heads = heads
        self.q, self.k, self.v, self.o = (
            Linear(f"{path}.{n}", weights, adapter) for n in ("q_proj", "k_proj", "v_proj", "out_proj")
        )

    def __call__(self, x):
        n, d = x.shape
        split = lambda t: t.reshape(n, self.heads, -1).transpose(1, 0, 2)
        q, k, v = split(self.q(x)), split(self.k(x)), split(self.v(x))
        att = softmax(q @ k.transpose(0, 2, 1) / np.sqrt(d / self.heads))
        return self.o((att @ v).transpose(1, 0, 2).reshape(n, d))


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("weights", type=Path)
    ap.add_argument("adapter", type=Path)
    ap.add_argument("features", type=Path)
    args = ap.parse_args()
    weights = load_file(args.weights)
    adapter = Adapter(args.adapter)
    attention = Attention("model.encoder.layers.0.self_attn", weights, 6, adapter)
    np.save(args.features.with_suffix(".out.npy"), attention(np.load(args.features)))


if __name__ == "__main__":
    main()
