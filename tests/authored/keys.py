"""Keys that are read can be written."""

from __future__ import annotations

from tests.authored.program import Program

PROGRAMS = (
    Program(
        "regex rename",
        "LS302",
        r"""
import re

from safetensors.torch import load_file, save_file

PATTERN = re.compile(r"lora_unet_(.+)\.(lora_down|lora_up)\.weight")
SIDES = {"lora_down": "lora_A", "lora_up": "lora_B"}


def rename(path, out):
    result = {}
    for key, value in load_file(path).items():
        match = PATTERN.fullmatch(key)  #!
        if match is None:
            continue
        result[f"transformer.{match[1]}.{SIDES[match[2]]}.weight"] = value
    save_file(result, out)
""",
        (),
    ),
    Program(
        "suffix added to all",
        "LS306",
        """
from safetensors.torch import load_file, save_file


def to_flat(path, out):
    sd = load_file(path)
    new = {}
    for k, v in sd.items():
        k = k.replace("diffusion_model.", "").replace(".lora_down.weight", ".lora_A").replace(".lora_up.weight", ".lora_B")
        new[f"base_model.model.{k}.weight"] = v  #!
    save_file(new, out)
""",
        (),
        "medium",
    ),
    Program(
        "dots and underscores",
        "LS306",
        """
import torch


class Bank:
    def __init__(self, sd):
        self.alphas = {}
        self.pairs = {}
        for key, value in sd.items():
            if key.endswith(".alpha"):
                self.alphas[key[:-6]] = float(value)  #!
            elif ".lora_down." in key:
                self.pairs.setdefault(key.split(".lora_down")[0].replace("_", "."), [None, None])[0] = value
            elif ".lora_up." in key:
                self.pairs.setdefault(key.split(".lora_up")[0].replace("_", "."), [None, None])[1] = value

    def delta(self, name):
        down, up = self.pairs[name]
        rank = down.shape[0]
        return up @ down * (self.alphas.get(name, rank) / rank)  #!
""",
        (("self.alphas[key[:-6]]", 'self.alphas[key[:-6].replace("_", ".")]'),),
    ),
    Program(
        "strict false nothing fits",
        "LS319",
        """
import torch
from torch import nn


class Adapted(nn.Module):
    def __init__(self, base, rank, alpha):
        super().__init__()
        self.base = base
        self.lora_down = nn.Linear(base.in_features, rank, bias=False)
        self.lora_up = nn.Linear(rank, base.out_features, bias=False)
        nn.init.zeros_(self.lora_up.weight)
        self.scale = alpha / rank

    def forward(self, x):
        return self.base(x) + self.lora_up(self.lora_down(x)) * self.scale


class Model(nn.Module):
    def __init__(self, rank=8, alpha=16):
        super().__init__()
        self.proj = Adapted(nn.Linear(64, 64), rank, alpha)

    def forward(self, x):
        return self.proj(x)


def save(model, path):
    torch.save({"adapter." + k: v for k, v in model.state_dict().items() if "lora_" in k}, path)


def restore(model, path):
    model.load_state_dict(torch.load(path), strict=False)  #!
""",
        (
            (
                "model.load_state_dict(torch.load(path), strict=False)",
                'model.load_state_dict({k.removeprefix("adapter."): v for k, v in torch.load(path).items()}, strict=False)',
            ),
        ),
        "medium",
    ),
    Program(
        "alpha into peft file",
        "LS311",
        """
import json

from safetensors.torch import load_file, save_file


def kohya_to_peft(src, folder, rank):
    out = {}
    for key, value in load_file(src).items():
        stem, _, tail = key.partition(".")
        name = "base_model.model." + stem.removeprefix("lora_unet_")
        if tail == "lora_down.weight":
            out[name + ".lora_A.weight"] = value
        elif tail == "lora_up.weight":
            out[name + ".lora_B.weight"] = value
        else:
            out[name + "." + tail] = value  #!
    save_file(out, folder + "/adapter_model.safetensors")
    with open(folder + "/adapter_config.json", "w") as f:
        json.dump({"peft_type": "LORA", "r": rank, "lora_alpha": rank}, f)  #!
""",
        (),
    ),
    Program(
        "asked by dict of renames",
        "LS302",
        """
import torch
from safetensors.torch import load_file

NAMES = {
    "lora_down.weight": "lora_A.weight",
    "lora_up.weight": "lora_B.weight",
}


def translated(path):
    out = {}
    for key, value in load_file(path).items():
        for old, new in NAMES.items():
            if key.endswith(old):
                out[key[: -len(old)] + new] = value  #!
    return out


def attach(pipe, path):
    pipe.load_lora_weights(translated(path))
""",
        (
            (
                '"lora_up.weight": "lora_B.weight",',
                '"lora_up.weight": "lora_B.weight",\n    "alpha": "alpha",',
            ),
        ),
    ),
)
