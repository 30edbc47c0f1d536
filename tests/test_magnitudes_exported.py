"""Exporters that save the factors of layers with a learned magnitude."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

SLIM = """\
import torch
import torch.nn as nn
import torch.nn.functional as F


class Slim(nn.Module):
    def __init__(self, host, rank, alpha):
        super().__init__()
        self.host = host
        self.inner = nn.Parameter(torch.randn(rank, host.in_features) * 0.01)
        self.outer = nn.Parameter(torch.zeros(host.out_features, rank))
        self.gain = alpha / rank
        self.length = nn.Parameter(host.weight.detach().norm(dim=1))

    def forward(self, x):
        w = self.host.weight + self.gain * (self.outer @ self.inner)
        w = w / w.norm(dim=1, keepdim=True).detach() * self.length[:, None]
        return F.linear(x, w, self.host.bias)
"""

ONE_TABLE_FOR_EACH_LAYER = (
    SLIM
    + """

def parts(layer):
    return {"inner": layer.inner.detach().cpu(), "outer": layer.outer.detach().cpu()}


def dump(model, path):
    torch.save({name: parts(m) for name, m in model.named_modules() if isinstance(m, Slim)}, path)
"""
)

METHOD_OF_ANOTHER_CLASS = """\
import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import save_file


class DoRAConv(nn.Module):
    def __init__(self, base, r, alpha):
        super().__init__()
        self.base = base
        self.r, self.alpha = r, alpha
        self.lora_down = nn.Linear(base.in_features, r, bias=False)
        self.lora_up = nn.Linear(r, base.out_features, bias=False)
        nn.init.zeros_(self.lora_up.weight)
        self.m = nn.Parameter(base.weight.detach().norm(dim=1, keepdim=True))

    def forward(self, x):
        w = self.base.weight + self.alpha / self.r * (self.lora_up.weight @ self.lora_down.weight)
        return F.linear(x, self.m * w / w.norm(dim=1, keepdim=True))


class Exporter:
    def __init__(self, layers):
        self.layers = layers

    def state(self):
        return {
            f"{name}.{side}.weight": getattr(layer, side).weight
            for name, layer in self.layers.items()
            if isinstance(layer, DoRAConv)
            for side in ("lora_down", "lora_up")
        }

    def save(self, path):
        out = self.state()
        for name, layer in self.layers.items():
            out[name + ".alpha"] = torch.tensor(float(layer.alpha))
        save_file(out, path)
"""

MLX = """\
import mlx.core as mx
import mlx.nn as nn


class DoRALinear(nn.Module):
    def __init__(self, linear, r=8, alpha=16.0):
        super().__init__()
        out_dims, in_dims = linear.weight.shape
        self.linear = linear
        self.scale = alpha / r
        self.lora_a = mx.random.uniform(low=-0.1, high=0.1, shape=(in_dims, r))
        self.lora_b = mx.zeros(shape=(r, out_dims))
        self.m = mx.linalg.norm(linear.weight, axis=1)

    def __call__(self, x):
        w = self.linear.weight + self.scale * (self.lora_b.T @ self.lora_a.T)
        norm = mx.linalg.norm(w, axis=1)
        return (x @ w.T) * (self.m / norm)


def save_adapters(model, path):
    flat = {}
    for name, layer in model.named_modules():
        if isinstance(layer, DoRALinear):
            flat.update({name + ".lora_a": layer.lora_a, name + ".lora_b": layer.lora_b})
    mx.save_safetensors(path, flat)
"""

LENGTHS = """\
def lengths(model):
    return {n: m.length.detach() for n, m in model.named_modules() if isinstance(m, Slim)}
"""

SAVED_IN_A_FILE_OF_ITS_OWN = (
    ONE_TABLE_FOR_EACH_LAYER.replace("def dump", LENGTHS + "\n\ndef dump")
    + """    torch.save(lengths(model), path + ".lengths")
"""
)

REFUSED = """\
import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import save_file


class Layer(nn.Module):
    def __init__(self, base, r, alpha, use_dora=False):
        super().__init__()
        self.base = base
        self.r, self.alpha = r, alpha
        self.use_dora = use_dora
        self.lora_down = nn.Linear(base.in_features, r, bias=False)
        self.lora_up = nn.Linear(r, base.out_features, bias=False)
        nn.init.zeros_(self.lora_up.weight)
        if use_dora:
            self.magnitude = nn.Parameter(base.weight.detach().norm(dim=1, keepdim=True))

    def forward(self, x):
        w = self.base.weight + self.alpha / self.r * (self.lora_up.weight @ self.lora_down.weight)
        if self.use_dora:
            w = self.magnitude * w / w.norm(dim=1, keepdim=True)
        return F.linear(x, w)


def save(layers, path):
    if any(layer.use_dora for layer in layers.values()):
        raise NotImplementedError("no DoRA in this format")
    out = {}
    for name, layer in layers.items():
        if isinstance(layer, Layer):
            out[f"{name}.lora_down.weight"] = layer.lora_down.weight
            out[f"{name}.lora_up.weight"] = layer.lora_up.weight
            out[f"{name}.alpha"] = torch.tensor(float(layer.alpha))
    save_file(out, path)


def norms(layers):
    seen = {}
    for name, layer in layers.items():
        if isinstance(layer, Layer):
            seen[name] = (layer.lora_down.weight.norm().item(), layer.lora_up.weight.norm().item())
    return seen
"""

PICTURES = (
    SLIM
    + """

def groups(model, lr):
    found = {"inner": [], "outer": []}
    pictures = {}
    for name, m in model.named_modules():
        if isinstance(m, Slim):
            pictures[name + "/inner"] = m.inner.detach()
            pictures[name + "/outer"] = m.outer.detach()
            found["inner"].append(m.inner)
    return pictures, found
"""
)


@pytest.mark.parametrize("source", [ONE_TABLE_FOR_EACH_LAYER, METHOD_OF_ANOTHER_CLASS, MLX])
def test_an_exporter_leaves_the_magnitude_behind(source: str, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"export.py": source})
    assert [(item.code, item.confidence) for item in found] == [("LS408", "high")]


@pytest.mark.parametrize("source", [SAVED_IN_A_FILE_OF_ITS_OWN, REFUSED, PICTURES])
def test_an_exporter_knows_of_the_magnitude(source: str, tmp_path: Path) -> None:
    assert not lint_files(tmp_path, {"export.py": source})
