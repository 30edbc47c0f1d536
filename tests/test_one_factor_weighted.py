"""LS122: sums of adapters with the weight on one factor, and combinations that are right."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

SUM = """\
import math
import torch


def combine_lora(target, adapters, weights, total_A, total_B):
    lora_A = target.lora_A["sum"].data * 0.0
    lora_B = target.lora_B["sum"].data * 0.0
    for name, weight in zip(adapters, weights):
        down, up = target.lora_A[name].weight, target.lora_B[name].weight
        {body}
    return lora_A, lora_B
"""
WRONG = {
    "weight and scaling on A": "lora_A += down.data * weight * target.scaling[name]; lora_B += up.data",
    "weight on B": "lora_A += down; lora_B.add_(up * weight)",
    "plain sums": "lora_A = lora_A + weight * down; lora_B = lora_B + up",
}
RIGHT = {
    "roots on both": "root = math.sqrt(weight); lora_A += down * root; lora_B += up * root",
    "concatenated": "lora_A = torch.cat([lora_A, down * weight]); lora_B = torch.cat([lora_B, up], dim=1)",
    "only the scaling on one": "lora_A += down * target.scaling[name]; lora_B += up",
    "the delta": "target.base.weight.data += (up @ down) * weight",
}


@pytest.mark.parametrize("name", WRONG)
def test_found(name: str, tmp_path: Path) -> None:
    source = SUM.format(body=WRONG[name])
    found = lint_files(tmp_path, {"lora_sum.py": source}, codes=["LS122"])
    assert [finding.code for finding in found] == ["LS122"]


@pytest.mark.parametrize("name", RIGHT)
def test_silent(name: str, tmp_path: Path) -> None:
    source = SUM.format(body=RIGHT[name])
    assert lint_files(tmp_path, {"lora_sum.py": source}, codes=["LS122"]) == ()
