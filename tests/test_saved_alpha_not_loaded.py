"""LS313: what a class saves with its factors, it loads."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

PROGRAM = """
import torch
from safetensors.torch import load_file, save_file
from torch import nn

class Branch(nn.Module):
    def __init__(self, linear, rank, alpha):
        super().__init__()
        self.lora_down = nn.Linear(linear.in_features, rank, bias=False)
        self.lora_up = nn.Linear(rank, linear.out_features, bias=False)
        self.rank, self.alpha, self.scale = rank, alpha, alpha / rank
        self.linear = linear

    def forward(self, x):
        return self.linear(x) + self.lora_up(self.lora_down(x)) * self.scale

    def take(self, down, up):
        self.lora_down.weight.data.copy_(down)
        self.lora_up.weight.data.copy_(up)

class Network(nn.Module):
    def __init__(self, layers, rank, alpha):
        super().__init__()
        self.parts = {{name: Branch(layer, rank, alpha) for name, layer in layers.items()}}

    def save(self, path):
        tensors = {{}}
        for name, part in self.parts.items():
{save}
        save_file(tensors, path)

    def load(self, path):
        tensors = {open}
        for name, part in self.parts.items():
{load}
"""
SAVE = """
            tensors[f"{name}.lora_down.weight"] = part.lora_down.weight
            tensors[f"{name}.lora_up.weight"] = part.lora_up.weight
            tensors[f"{name}.alpha"] = torch.tensor(float(part.alpha))"""
LOAD = """
            part.lora_down.weight.data.copy_(tensors[f"{name}.lora_down.weight"])
            part.lora_up.weight.data.copy_(tensors[f"{name}.lora_up.weight"])"""
ALPHA = """
            part.alpha = float(tensors[f"{name}.alpha"])
            part.scale = part.alpha / part.rank"""


def codes(folder: Path, save: str = SAVE, load: str = LOAD, opened: str = "load_file(path)") -> list[str]:
    source = PROGRAM.format(save=save, load=load, open=opened)
    return [item.code for item in lint_files(folder, {"network.py": source}, codes=["LS313"])]


@pytest.mark.parametrize(
    "load",
    [
        LOAD,
        """
            part.lora_down.weight = nn.Parameter(tensors[f"{name}.lora_down.weight"])
            part.lora_up.weight = nn.Parameter(tensors[f"{name}.lora_up.weight"].float())""",
        """
            down, up = tensors.get(f"{name}.lora_down.weight"), tensors.get(f"{name}.lora_up.weight")
            if down is not None and up is not None:
                part.take(down, up)""",
    ],
)
def test_found(load: str, tmp_path: Path) -> None:
    assert codes(tmp_path, load=load) == ["LS313"]


def test_found_in_a_file_of_torch(tmp_path: Path) -> None:
    assert codes(tmp_path, opened='torch.load(path, map_location="cpu")') == ["LS313"]


@pytest.mark.parametrize(
    "load",
    [
        LOAD + ALPHA,
        # folded into a factor instead
        LOAD + """
            part.lora_up.weight.data *= tensors[f"{name}.alpha"] / part.alpha""",
        # a file of another alpha is refused
        LOAD + """
            if float(tensors[f"{name}.alpha"]) != part.alpha:
                raise ValueError(path)""",
        """
            part.load_state_dict(tensors)""",
        # only looked at
        """
            print(tensors[f"{name}.lora_down.weight"].shape, tensors[f"{name}.lora_up.weight"].shape)""",
    ],
)  # fmt: skip
def test_silent(load: str, tmp_path: Path) -> None:
    assert codes(tmp_path, load=load) == []


def test_a_class_that_saves_no_alpha_is_silent(tmp_path: Path) -> None:
    assert codes(tmp_path, save=SAVE[: SAVE.rindex("\n")]) == []
