"""Roles travel: through rows, records, tables and helpers."""

from __future__ import annotations

from tests.authored.program import Program

PROGRAMS = (
    Program(
        "namedtuple zip",
        "LS310",
        """
from collections import namedtuple

import torch

Entry = namedtuple("Entry", "stem down up alpha")


def entries(sd):
    stems = [k[: -len(".lora_down.weight")] for k in sd if k.endswith(".lora_down.weight")]
    downs = [sd[s + ".lora_down.weight"] for s in stems]
    ups = [sd[s + ".lora_up.weight"] for s in stems]
    alphas = [float(sd[s + ".alpha"]) for s in stems]
    return [Entry(*row) for row in zip(stems, downs, ups, alphas)]


def merge_all(weights, sd, strength):
    for e in entries(sd):
        weights[e.stem + ".weight"] += strength * (e.up @ e.down)  #!
""",
        (("strength * (e.up @ e.down)", "strength * (e.alpha / e.down.shape[0]) * (e.up @ e.down)"),),
    ),
    Program(
        "function parameter",
        "LS310",
        """
import torch


def linear_delta(up, down):
    return up @ down


def conv_delta(up, down):
    return torch.einsum("or,rihw->oihw", up.flatten(1), down)


def apply(weight, up, down, alpha, make=linear_delta):
    weight.data.add_(make(up, down))  #!


def load(model, sd):
    for name, module in model.named_modules():
        key = "lora_unet_" + name.replace(".", "_")
        if key + ".lora_up.weight" not in sd:
            continue
        make = conv_delta if isinstance(module, torch.nn.Conv2d) else linear_delta
        apply(module.weight, sd[key + ".lora_up.weight"], sd[key + ".lora_down.weight"], sd[key + ".alpha"].item(), make)
""",
        (("weight.data.add_(make(up, down))", "weight.data.add_(make(up, down) * (alpha / down.shape[0]))"),),
    ),
    Program(
        "helper returns extents",
        "LS120",
        """
import torch


def extents(up, down):
    return up.shape[0], down.shape[1], down.shape[0]


def combine(sd, stem, strength):
    up, down = sd[stem + ".lora_up.weight"], sd[stem + ".lora_down.weight"]
    rank, _, _ = extents(up, down)  #!
    return strength * (sd[stem + ".alpha"].item() / rank) * (up @ down)


def merge(base, sd, strength=1.0):
    for k in [k for k in sd if k.endswith(".alpha")]:
        stem = k[:-6]
        base[stem + ".weight"] += combine(sd, stem, strength)
""",
        (("rank, _, _ = extents", "_, _, rank = extents"),),
    ),
    Program(
        "suffix table",
        "LS310",
        """
import torch

SUFFIXES = (
    ("lora_down.weight", "lora_up.weight"),
    ("lora_A.weight", "lora_B.weight"),
    ("down.weight", "up.weight"),
)


def find(sd, stem):
    for first, second in SUFFIXES:
        if f"{stem}.{first}" in sd:
            return sd[f"{stem}.{first}"], sd[f"{stem}.{second}"], sd.get(f"{stem}.alpha")
    return None


def patch(model, sd):
    for name, m in model.named_modules():
        found = find(sd, name)
        if found is None:
            continue
        a, b, alpha = found
        m.weight.data += b @ a  #!
""",
        (
            (
                "m.weight.data += b @ a",
                "m.weight.data += b @ a * (1.0 if alpha is None else alpha.item() / a.shape[0])",
            ),
        ),
    ),
    Program(
        "unpacked other way",
        "LS244",
        """
import json

import torch


def settings(path):
    with open(path) as handle:
        raw = json.load(handle)
    return raw["rank"], raw["alpha"]


class Layer(torch.nn.Module):
    def __init__(self, base, rank, alpha):
        super().__init__()
        self.base = base
        self.lora_A = torch.nn.Parameter(torch.randn(rank, base.in_features))
        self.lora_B = torch.nn.Parameter(torch.zeros(base.out_features, rank))
        self.scale = alpha / rank

    def forward(self, x):
        return self.base(x) + (x @ self.lora_A.T @ self.lora_B.T) * self.scale


def build(model, path):
    alpha, rank = settings(path)  #!
    model.head = Layer(model.head, rank=rank, alpha=alpha)
    return model
""",
        (("alpha, rank = settings(path)", "rank, alpha = settings(path)"),),
    ),
    Program(
        "record objects setdefault",
        "LS310",
        """
from types import SimpleNamespace

import torch


def collect(sd):
    table = {}
    for key, value in sd.items():
        stem, _, what = key.partition(".")
        slot = table.setdefault(stem, SimpleNamespace(up=None, down=None, alpha=None))
        if what.startswith("lora_up"):
            slot.up = value
        elif what.startswith("lora_down"):
            slot.down = value
        elif what == "alpha":
            slot.alpha = value.item()
    return table


def apply(layers, sd, strength):
    for stem, slot in collect(sd).items():
        layers[stem].weight.data.addmm_(slot.up, slot.down, alpha=strength)  #!
""",
        (("alpha=strength)", "alpha=strength * slot.alpha / slot.down.shape[0])"),),
    ),
    Program(
        "kernels by another axis",
        "LS120",
        """
import torch


def scale(sd, stem):
    down, alpha = sd[stem + ".lora_down.weight"], sd[stem + ".alpha"].item()
    if down.ndim == 4:
        return alpha / down.shape[1]  #!
    return alpha / down.shape[0]


def patch(layers, sd):
    for stem, layer in layers.items():
        up, down = sd[stem + ".lora_up.weight"], sd[stem + ".lora_down.weight"]
        delta = (up.flatten(1) @ down.flatten(1)).reshape(layer.weight.shape)
        layer.weight.data += scale(sd, stem) * delta
""",
        (("return alpha / down.shape[1]", "return alpha / down.shape[0]"),),
    ),
)
