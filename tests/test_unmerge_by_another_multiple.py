"""LS221: merges and unmerges of stored factors, by the same number and by another."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

UNFUSE = """\
import torch


def unfuse_lora(layer):
    for name, times in list(layer.active.items()):
        layer.weight.data -= torch.mm(layer.lora_B[name], layer.lora_A[name]) * times
        layer.active.pop(name)
"""
WRONG = {
    "divided by the scaling": """

def reweight(layer, name, weight):
    layer.active[name] = weight
    layer.weight.data += layer.lora_B[name] @ layer.lora_A[name] * (weight / layer.scaling[name])
""",
    "another argument": """

def fuse(layer, name, strength, scaling):
    layer.active[name] = strength
    layer.weight.data.add_(layer.lora_B[name] @ layer.lora_A[name], alpha=strength * scaling)
""",
    "1 is kept": """

def fuse(layer, names, strength):
    for name in names:
        layer.weight.data += layer.lora_B[name] @ layer.lora_A[name] * strength
        layer.active[name] = 1.0
""",
}
RIGHT = {
    "the product is kept": """

def reweight(layer, name, weight):
    times = weight / layer.scaling[name]
    layer.active[name] = times
    layer.weight.data += layer.lora_B[name] @ layer.lora_A[name] * times
""",
    "the kept number is read again": """

def reweight(layer, name, weight):
    layer.active[name] = weight * layer.trained[name]
    layer.weight.data += layer.lora_B[name] @ layer.lora_A[name] * layer.active[name]
""",
    "the factors are not the stored ones": """

def fuse(layer, name, down, up, strength):
    layer.lora_A[name], layer.lora_B[name] = down, up * strength
    layer.active[name] = 1.0
    layer.weight.data += up @ down * strength
""",
    "another dictionary": """

def fuse(layer, name, strength, scaling):
    layer.shown[name] = strength
    layer.active[name] = strength * scaling
    layer.weight.data += layer.lora_B[name] @ layer.lora_A[name] * strength * scaling
""",
}


@pytest.mark.parametrize("name", WRONG)
def test_found(name: str, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora_fuse.py": UNFUSE + WRONG[name]}, codes=["LS221"])
    assert [finding.code for finding in found] == ["LS221"]


@pytest.mark.parametrize("name", RIGHT)
def test_silent(name: str, tmp_path: Path) -> None:
    assert lint_files(tmp_path, {"lora_fuse.py": UNFUSE + RIGHT[name]}, codes=["LS221"]) == ()
