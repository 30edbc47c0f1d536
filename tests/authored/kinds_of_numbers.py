"""Alphas that are None, text or whole."""

from __future__ import annotations

from tests.authored.program import Program

PROGRAMS = (
    Program(
        "argv text",
        "LS246",
        """
import sys

import torch


class Low(torch.nn.Module):
    def __init__(self, base, rank, alpha):
        super().__init__()
        self.base = base
        self.lora_A = torch.nn.Parameter(torch.randn(rank, base.in_features))
        self.lora_B = torch.nn.Parameter(torch.zeros(base.out_features, rank))
        self.scaling = alpha / rank  #!

    def forward(self, x):
        return self.base(x) + x @ self.lora_A.T @ self.lora_B.T * self.scaling


def main(model):
    rank, alpha = int(sys.argv[1]), sys.argv[2]  #!
    model.head = Low(model.head, rank, alpha)
""",
        (("sys.argv[2]", "float(sys.argv[2])"),),
    ),
    Program(
        "metadata text divided",
        "LS246",
        """
from safetensors import safe_open


def merge(model, path):
    with safe_open(path, framework="pt") as f:
        meta = f.metadata() or {}
        alpha = meta.get("alpha", 16)
        rank = meta.get("rank", 16)
        scale = alpha / rank  #!
        for key in f.keys():
            if key.endswith("lora_A.weight"):
                a, b = f.get_tensor(key), f.get_tensor(key.replace("lora_A", "lora_B"))
                model.get_submodule(key[: -len(".lora_A.weight")]).weight.data += scale * (b @ a)
""",
        (("scale = alpha / rank", "scale = float(alpha) / float(rank)"),),
    ),
    Program(
        "metadata compared",
        "LS246",
        """
from safetensors import safe_open


def scale_in(path, down):
    with safe_open(path, framework="np") as f:
        meta = f.metadata()
    alpha = meta["ss_network_alpha"]
    rank = down.shape[0]
    if alpha == rank:  #!
        return 1.0
    return float(alpha) / rank
""",
        (),
    ),
    Program(
        "packed integer",
        "LS204",
        """
import torch
from safetensors.torch import save_file


def dump(layers, path):
    out = {}
    for name, layer in layers.items():
        out[name + ".lora_down.weight"] = layer.down.weight.detach().contiguous()
        out[name + ".lora_up.weight"] = layer.up.weight.detach().contiguous()
        out[name + ".alpha"] = torch.tensor(layer.alpha, dtype=torch.int16)  #!
    save_file(out, path)
""",
        (("dtype=torch.int16", "dtype=torch.float32"),),
    ),
    Program(
        "none divided",
        "LS241",
        """
import torch
from torch import nn


class Wrapped(nn.Module):
    def __init__(self, host, rank=4, alpha=None):
        super().__init__()
        self.host = host
        self.down = nn.Linear(host.in_features, rank, bias=False)
        self.up = nn.Linear(rank, host.out_features, bias=False)
        self.scale = alpha / rank  #!

    def forward(self, x):
        return self.host(x) + self.up(self.down(x)) * self.scale


def wrap_lora(model):
    model.q = Wrapped(model.q, rank=8)
""",
        (("self.scale = alpha / rank", "self.scale = (rank if alpha is None else alpha) / rank"),),
    ),
    Program(
        "truth of tensor",
        "LS205",
        """
def scaled(sd, stem):
    up, down = sd[stem + ".lora_up.weight"], sd[stem + ".lora_down.weight"]
    alpha = sd.get(stem + ".alpha")
    scale = alpha / down.shape[0] if alpha else 1.0  #!
    return scale * (up @ down)


def merge(weights, sd):
    for k in sd:
        if k.endswith("lora_up.weight"):
            stem = k[: -len(".lora_up.weight")]
            weights[stem + ".weight"] += scaled(sd, stem)
""",
        (("if alpha else 1.0", "if alpha is not None else 1.0"),),
        "medium",
    ),
    Program(
        "environment text",
        "LS246",
        """
import os

import torch
from torch import nn

RANK = int(os.environ.get("LORA_RANK", "16"))
ALPHA = os.environ.get("LORA_ALPHA", "32")


class Delta(nn.Module):
    def __init__(self, base):
        super().__init__()
        self.base = base
        self.lora_A = nn.Parameter(torch.randn(RANK, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, RANK))

    def forward(self, x):
        return self.base(x) + (ALPHA / RANK) * (x @ self.lora_A.T @ self.lora_B.T)  #!
""",
        (
            (
                'ALPHA = os.environ.get("LORA_ALPHA", "32")',
                'ALPHA = float(os.environ.get("LORA_ALPHA", "32"))',
            ),
        ),
    ),
    Program(
        "floor divided",
        "LS204",
        '''
import jax.numpy as jnp


def delta(params, cfg):
    """Low-rank update of one kernel."""
    scale = cfg["lora_alpha"] // cfg["lora_rank"]  #!
    return scale * jnp.dot(params["lora_a"], params["lora_b"])


def merged(kernel, params, cfg):
    return kernel + delta(params, cfg)
''',
        (("// cfg", "/ cfg"),),
    ),
    Program(
        "argparse untyped",
        "LS246",
        """
import argparse

import torch


class Low(torch.nn.Module):
    def __init__(self, base, rank, alpha):
        super().__init__()
        self.base = base
        self.lora_A = torch.nn.Parameter(torch.randn(rank, base.in_features))
        self.lora_B = torch.nn.Parameter(torch.zeros(base.out_features, rank))
        self.scaling = alpha / rank

    def forward(self, x):
        return self.base(x) + x @ self.lora_A.T @ self.lora_B.T * self.scaling


def main(model):
    p = argparse.ArgumentParser()
    p.add_argument("--rank", type=int, default=8)
    p.add_argument("--alpha", default=16.0)  #!
    args = p.parse_args()
    model.head = Low(model.head, args.rank, args.alpha)  #!
""",
        (('"--alpha", default', '"--alpha", type=float, default'),),
        "medium",
    ),
)
