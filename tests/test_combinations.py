"""LS106 and LS114 where adapters are combined: deltas that are scaled already, and signs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

LIST = """
from peft.utils.merge_utils import task_arithmetic


def combine(target, adapters, weights):
    given, deltas = [], []
    for adapter, weight in zip(adapters, weights):
        given.append({weight})
        deltas.append(target.get_delta_weight(adapter))
    return task_arithmetic(deltas, torch.tensor(given))  # of LoRA layers
"""
SUM = """
def combine(target, adapters, weights):
    total = 0
    for adapter, weight in zip(adapters, weights):
        total = total + {weight} * target.get_delta_weight(adapter)
    return total  # of LoRA layers
"""

ROOTS = """
def combine(target, adapters, weights):
    for adapter, weight in zip(adapters, weights):
        whole = weight * target.scaling[adapter]
        root = math.sqrt(abs(whole))
        sign = 1 if whole >= 0 else -1
        lora_A = target.lora_A[adapter].weight * {first}
        lora_B = target.lora_B[adapter].weight * {last}
        target.update(adapter, lora_A, lora_B)
"""


def codes(folder: Path, source: str) -> list[str]:
    return [f.code for f in lint_files(folder, {"lora_model.py": source}, codes=["LS106", "LS114"])]


@pytest.mark.parametrize(
    ("weight", "expected"), [("weight * target.scaling[adapter]", ["LS106"]), ("weight", [])]
)
@pytest.mark.parametrize("source", [LIST, SUM], ids=["list", "sum"])
def test_deltas_that_hold_their_scaling(
    source: str, weight: str, expected: list[str], tmp_path: Path
) -> None:
    assert codes(tmp_path, source.format(weight=weight)) == expected


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        ("(sign * root)", "(sign * root)", ["LS114"]),
        ("(sign * root)", "root", []),
        ("root", "root", ["LS114"]),
    ],
)
def test_signs(first: str, last: str, expected: list[str], tmp_path: Path) -> None:
    assert codes(tmp_path, ROOTS.format(first=first, last=last)) == expected


PAIR = """
import numpy as np


class Adapter:
    def __init__(self, tensors, config, weight, scale):
        self.tensors, self.config, self.weight, self.scale = tensors, config, weight, scale
        self.gain = config["lora_alpha"] / config["r"]

    def factors(self, module):
        down = self.tensors[module + ".lora_A.weight"].astype(np.float32)
        up = self.tensors[module + ".lora_B.weight"].astype(np.float32)
        return {down}, {up}
"""


@pytest.mark.parametrize(
    ("down", "up", "count"),
    [
        ("down * self.weight", "up * (self.gain * self.weight)", 1),
        ("self.weight * down", "up * self.weight", 1),
        ("down * self.gain", "up * self.gain * self.weight", 1),
        ("down", "up * (self.gain * self.weight)", 0),
        ("down * self.weight", "up * self.gain", 0),
        ("down * np.sqrt(self.weight)", "up * np.sqrt(self.weight) * self.gain", 0),
        ("down * self.weight", "up / self.weight * self.gain", 0),
    ],
)
def test_a_weight_among_other_numbers_on_both_factors(down: str, up: str, count: int, tmp_path: Path) -> None:
    source = PAIR.format(down=down, up=up)
    found = lint_files(tmp_path, {"lora.py": source}, codes={"LS114"})
    assert [item.confidence for item in found] == ["high"] * count
