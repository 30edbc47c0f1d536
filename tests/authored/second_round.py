"""A second round: filters, caches, strengths that a pipeline is told twice."""

from __future__ import annotations

from tests.authored.program import Program

PROGRAMS = (
    Program(
        "next iter alpha",
        "LS307",
        """
from safetensors.torch import load_file


def merge(model, path):
    sd = load_file(path)
    alpha = next(float(v) for k, v in sd.items() if k.endswith(".alpha"))  #!
    for k in [k for k in sd if k.endswith(".lora_down.weight")]:
        stem = k[: -len(".lora_down.weight")]
        down, up = sd[k], sd[stem + ".lora_up.weight"]
        model.get_submodule(stem).weight.data += alpha / down.shape[0] * (up @ down)  #!
""",
        (
            ('alpha = next(float(v) for k, v in sd.items() if k.endswith(".alpha"))', "pass"),
            ("    down, up = sd[k]", '    alpha = float(sd[stem + ".alpha"])\n        down, up = sd[k]'),
        ),
    ),
    Program(
        "first seen wins",
        "LS307",
        """
import torch


def collect(sd):
    alpha, pairs = None, {}
    for key, value in sd.items():
        if key.endswith(".alpha"):
            if alpha is None:
                alpha = value.item()  #!
        else:
            stem, _, part = key.partition(".lora_")
            pairs.setdefault(stem, {})[part.split(".")[0]] = value
    return alpha, pairs


def merge(weights, sd):
    alpha, pairs = collect(sd)
    for stem, pair in pairs.items():
        weights[stem + ".weight"] += alpha / pair["down"].shape[0] * pair["up"] @ pair["down"]  #!
""",
        (),
    ),
    Program(
        "list index zero",
        "LS307",
        """
import numpy as np


def export(path, out):
    data = np.load(path)
    alphas = [data[n] for n in data.files if n.endswith(".alpha")]
    meta = {"lora_alpha": float(alphas[0])}  #!
    tensors = {n: data[n] for n in data.files if not n.endswith(".alpha")}
    np.savez(out, **tensors, **meta)
""",
        (),
        "medium",
    ),
    Program(
        "config of first target",
        "LS307",
        """
import json

from peft import LoraConfig
from safetensors.torch import load_file, save_file


def to_peft(path, folder):
    sd = load_file(path)
    first = next(k for k in sd if k.endswith("lora_down.weight"))
    rank = sd[first].shape[0]
    alpha = sd[first.replace("lora_down.weight", "alpha")].item()
    out = {}
    for k, v in sd.items():
        if k.endswith(".alpha"):
            continue
        out["base_model.model." + k.replace("lora_down", "lora_A").replace("lora_up", "lora_B")] = v
    save_file(out, folder + "/adapter_model.safetensors")
    LoraConfig(r=rank, lora_alpha=alpha, target_modules=["q"]).save_pretrained(folder)  #!
""",
        (),
        "medium",
    ),
    Program(
        "magnitude dropped by copy",
        "LS408",
        """
import torch
from safetensors.torch import load_file, save_file


def to_plain(path, out):
    sd = load_file(path)
    new = {}
    for k, v in sd.items():
        if ".lora_A." in k or ".lora_B." in k:  #!
            new[k.replace("base_model.model.", "").replace("lora_magnitude_vector", "dora_scale")] = v
    save_file(new, out)
""",
        (),
        "medium",
    ),
    Program(
        "pattern dropped to dict",
        "LS402",
        """
import json


def publish(model, folder):
    cfg = model.peft_config["default"]
    data = {"peft_type": "LORA", "r": cfg.r, "lora_alpha": cfg.lora_alpha, "target_modules": list(cfg.target_modules), "bias": "none"}  #!
    with open(folder + "/adapter_config.json", "w") as f:
        json.dump(data, f)
    model.save_weights(folder)
""",
        (
            (
                '"bias": "none"}',
                '"bias": "none", "use_rslora": cfg.use_rslora, "rank_pattern": cfg.rank_pattern, "alpha_pattern": cfg.alpha_pattern}',
            ),
        ),
        "medium",
    ),
    Program(
        "save filter drops alpha buffer",
        "LS309",
        """
import torch
from torch import nn


class Low(nn.Module):
    def __init__(self, base, rank, alpha):
        super().__init__()
        self.base = base
        self.lora_down = nn.Linear(base.in_features, rank, bias=False)
        self.lora_up = nn.Linear(rank, base.out_features, bias=False)
        self.register_buffer("alpha", torch.tensor(float(alpha)))
        self.rank = rank

    def forward(self, x):
        return self.base(x) + self.lora_up(self.lora_down(x)) * (self.alpha / self.rank)


def save_adapter(model, path):
    torch.save({k: v for k, v in model.state_dict().items() if "lora_" in k}, path)  #!


def load_adapter(model, path):
    model.load_state_dict(torch.load(path), strict=False)
""",
        (('if "lora_" in k}', 'if "lora_" in k or k.endswith(".alpha")}'),),
        "medium",
    ),
    Program(
        "eval script literal",
        "LS315",
        """
### train.py
import argparse

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict


def main(model):
    p = argparse.ArgumentParser()
    p.add_argument("--lora_r", type=int, default=64)
    p.add_argument("--lora_alpha", type=int, default=128)
    a = p.parse_args()
    model = get_peft_model(model, LoraConfig(r=a.lora_r, lora_alpha=a.lora_alpha, target_modules=["q_proj"]))
    torch.save(get_peft_model_state_dict(model), "out/adapter.pt")
### evaluate.py
import torch
from peft import LoraConfig, get_peft_model, set_peft_model_state_dict


def load(model):
    model = get_peft_model(model, LoraConfig(r=64, lora_alpha=16, target_modules=["q_proj"]))  #!
    set_peft_model_state_dict(model, torch.load("out/adapter.pt"))
    return model.eval()
""",
        (),
        "medium",
    ),
    Program(
        "fsdp full state",
        "LS314",
        """
import torch
from peft import LoraConfig, get_peft_model
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict


def train(model, args):
    config = LoraConfig(r=args.rank, lora_alpha=args.alpha, target_modules=["q_proj"])
    model = get_peft_model(model, config)
    fit(model, args)
    full = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    lora = {k.replace("base_model.model.", ""): v for k, v in full.items() if "lora" in k}
    torch.save(lora, args.out + "/lora.pt")  #!
""",
        (),
        "medium",
    ),
    Program(
        "strength key of cache",
        "LS240",
        """
from functools import lru_cache

from safetensors.torch import load_file


class Switcher:
    def __init__(self, model):
        self.model, self.loaded = model, {}

    def use(self, path, weight):
        if path in self.loaded:  #!
            return self.loaded[path]
        sd = load_file(path)
        deltas = {}
        for k in [k for k in sd if k.endswith(".alpha")]:
            stem = k[:-6]
            down, up = sd[stem + ".lora_down.weight"], sd[stem + ".lora_up.weight"]
            deltas[stem] = weight * sd[k].item() / down.shape[0] * (up @ down)
        self.loaded[path] = deltas
        return deltas
""",
        (
            ("if path in self.loaded:", "if (path, weight) in self.loaded:"),
            ("return self.loaded[path]", "return self.loaded[path, weight]"),
            ("self.loaded[path] = deltas", "self.loaded[path, weight] = deltas"),
        ),
        "medium",
    ),
    Program(
        "set adapters and scale",
        "LS118",
        """
from diffusers import StableDiffusionXLPipeline


def render(pipe, prompt, weight):
    pipe.load_lora_weights("ink.safetensors", adapter_name="ink")
    pipe.set_adapters(["ink"], adapter_weights=[weight])
    return pipe(prompt, cross_attention_kwargs={"scale": weight}).images[0]  #!
""",
        (('cross_attention_kwargs={"scale": weight}', 'cross_attention_kwargs={"scale": 1.0}'),),
    ),
    Program(
        "set then fuse",
        "LS118",
        """
def bake(pipe, names, strengths, out):
    pipe.set_adapters(names, adapter_weights=strengths)
    for name, strength in zip(names, strengths):
        pipe.fuse_lora(adapter_names=[name], lora_scale=strength)  #!
    pipe.save_pretrained(out)


def main():
    from diffusers import FluxPipeline

    pipe = FluxPipeline.from_pretrained("flux")
    pipe.load_lora_weights("a.safetensors", adapter_name="a")
    bake(pipe, ["a"], [0.7], "out")
""",
        (("lora_scale=strength", "lora_scale=1.0"),),
    ),
    Program(
        "mlx alpha as scale cli",
        "LS501",
        """
import argparse

import mlx.core as mx
from mlx.utils import tree_flatten


class LoRALinear:
    def __init__(self, linear, rank, scale):
        self.linear, self.scale = linear, scale
        self.lora_a = mx.random.normal((linear.weight.shape[1], rank))
        self.lora_b = mx.zeros((rank, linear.weight.shape[0]))

    def __call__(self, x):
        return self.linear(x) + self.scale * (x @ self.lora_a @ self.lora_b)


def main(model):
    p = argparse.ArgumentParser()
    p.add_argument("--rank", type=int, default=8)
    p.add_argument("--alpha", type=float, default=16.0)
    args = p.parse_args()
    for layer in model.layers:
        layer.q_proj = LoRALinear(layer.q_proj, args.rank, args.alpha)  #!
""",
        (("args.rank, args.alpha)", "args.rank, args.alpha / args.rank)"),),
        "medium",
    ),
    Program(
        "saved flag not built",
        "LS409",
        """
### model.py
import math

import torch
from torch import nn


class Side(nn.Module):
    def __init__(self, host, rank, alpha, rooted=False):
        super().__init__()
        self.host = host
        self.lora_A = nn.Parameter(torch.randn(rank, host.in_features))
        self.lora_B = nn.Parameter(torch.zeros(host.out_features, rank))
        self.scale = alpha / (math.sqrt(rank) if rooted else rank)

    def forward(self, x):
        return self.host(x) + self.scale * (x @ self.lora_A.T @ self.lora_B.T)


def attach(model, rank, alpha, rooted=False):
    model.q = Side(model.q, rank, alpha, rooted)
### train.py
import json

from model import attach


def run(model, cfg, out):
    attach(model, cfg.rank, cfg.alpha)  #!
    fit(model)
    with open(out + "/adapter_config.json", "w") as f:
        json.dump({"peft_type": "LORA", "r": cfg.rank, "lora_alpha": cfg.alpha, "use_rslora": cfg.rslora}, f)
""",
        (("attach(model, cfg.rank, cfg.alpha)", "attach(model, cfg.rank, cfg.alpha, rooted=cfg.rslora)"),),
    ),
    Program(
        "rank pattern unasked",
        "LS412",
        """
import json
import re

import torch
from safetensors.torch import load_file


def own(table, name, usual):
    return next((v for k, v in (table or {}).items() if re.search(k + "$", name)), usual)


def bake(model, folder):
    with open(folder + "/adapter_config.json") as f:
        cfg = json.load(f)
    sd = load_file(folder + "/adapter_model.safetensors")
    for key in [k for k in sd if k.endswith("lora_A.weight")]:
        name = key.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
        alpha = own(cfg.get("alpha_pattern"), name, cfg["lora_alpha"])
        root = cfg["r"] ** 0.5 if cfg.get("use_rslora") else cfg["r"]
        delta = sd[key.replace("lora_A", "lora_B")] @ sd[key]
        model.get_submodule(name).weight.data += alpha / root * delta  #!
""",
        (
            (
                'root = cfg["r"] ** 0.5 if cfg.get("use_rslora") else cfg["r"]',
                'rank = own(cfg.get("rank_pattern"), name, cfg["r"])\n        root = rank**0.5 if cfg.get("use_rslora") else rank',
            ),
        ),
    ),
)
