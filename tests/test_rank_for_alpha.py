"""The rank that is given as alpha, where the alpha of the file is read and lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

LAYER = """\
from collections import namedtuple

from torch import nn
from safetensors.torch import load_file

Spec = namedtuple("Spec", "size strength")


class Low(nn.Module):
    def __init__(self, base, rank, alpha):
        super().__init__()
        self.base = base
        self.lora_down = nn.Linear(base.in_features, rank, bias=False)
        self.lora_up = nn.Linear(rank, base.out_features, bias=False)
        self.scale = alpha / rank

    def forward(self, x):
        return self.base(x) + self.scale * self.lora_up(self.lora_down(x))
"""
RECORDS = """

def specs(tensors):
    made = {}
    for key, value in tensors.items():
        if "lora_down" in key:
            name = key.split(".")[0]
            made[name] = Spec(value.shape[0], float(tensors[name + ".alpha"]))
    return made


def load(model, path):
    tensors = load_file(path)
    for name, spec in specs(tensors).items():
        layer = Low(model[name], spec.size, alpha=spec.size)
        layer.lora_down.weight.data = tensors[name + ".lora_down.weight"]
        layer.lora_up.weight.data = tensors[name + ".lora_up.weight"]
        model[name] = layer
"""
TABLES = """

def load(model, path):
    tensors = load_file(path)
    sizes, strengths = {}, {}
    for key, value in tensors.items():
        name, _, part = key.partition(".")
        if part == "alpha":
            strengths[name] = value.item()
        elif "lora_down" in part:
            sizes[name] = value.shape[0]
    for name, size in sizes.items():
        layer = Low(model[name], size, GIVEN)
        layer.lora_down.weight.data = tensors[name + ".lora_down.weight"]
        layer.lora_up.weight.data = tensors[name + ".lora_up.weight"]
        model[name] = layer
"""
SIZES = """

def sizes(tensors, name):
    rank = tensors[f"{name}.lora_down.weight"].shape[0]
    alpha = tensors.get(f"{name}.alpha")
    return rank, rank if alpha is None else alpha.item()
"""
LOAD = """

def %s(model, path):
    tensors = load_file(path)
    for key in tensors:
        if not key.endswith(".lora_down.weight"):
            continue
        name = key.removesuffix(".lora_down.weight")
        rank, alpha = sizes(tensors, name)
        layer = Low(model[name], rank, %s)
        layer.lora_down.weight.data = tensors[key]
        layer.lora_up.weight.data = tensors[f"{name}.lora_up.weight"]%s
        model[name] = layer
"""
RIGHT = (
    SIZES
    + LOAD % ("load", "alpha", "")
    + LOAD % ("folded", "rank", " * (alpha / rank)")
    + LOAD % ("later", "rank", "\n        layer.scale = alpha / rank")
)


@pytest.mark.parametrize("code", [RECORDS, TABLES.replace("GIVEN", "sizes[name]")])
def test_the_alpha_that_was_read_goes_nowhere(code: str, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"load.py": LAYER + code}, codes=["LS305"])
    assert [(item.code, item.confidence) for item in found] == [("LS305", "high")]


@pytest.mark.parametrize("code", [RIGHT, TABLES.replace("GIVEN", "strengths.get(name, size)")])
def test_alpha_is_given_folded_or_set_later(code: str, tmp_path: Path) -> None:
    assert not lint_files(tmp_path, {"load.py": LAYER + code}, codes=["LS305"])
