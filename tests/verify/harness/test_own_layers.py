"""Layers that a project puts around layers of its own, and shares out among processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorascale_lint.verify.run import run_verify
from lorascale_lint.verify.verdicts import Verdict

pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("warm_module")

GROUPS = """
_TP = None


def get_tp_group():
    assert _TP is not None, "tensor model parallel group is not initialized"
    return _TP
"""
PARALLEL = """
import torch
from torch import nn

from shop.groups import get_tp_group


class SharedLinear(nn.Module):
    def __init__(self, input_size: int, output_size: int, bias: bool = True):
        super().__init__()
        self.shard = output_size // get_tp_group().world_size
        self.weight = nn.Parameter(torch.empty(self.shard, input_size))
        self.bias = nn.Parameter(torch.zeros(self.shard)) if bias else None

    def forward(self, x):
        return get_tp_group().all_gather(x @ self.weight.T), self.bias
"""
AROUND = """
import torch
from torch import nn

from shop.groups import get_tp_group
from shop.linear import SharedLinear


class SharedLinearWithLoRA(nn.Module):
    def __init__(self, base_layer: nn.Module, lora_rank: int, lora_alpha: int):
        super().__init__()
        self.base_layer, self.scaling = base_layer, lora_alpha / lora_rank
        self.lora_A = self.lora_B = None

    def set_lora_weights(self, A, B):
        first = get_tp_group().rank_in_group * self.base_layer.shard
        self.lora_A, self.lora_B = A, B[first : first + self.base_layer.shard]

    def forward(self, x):
        out, bias = self.base_layer(x)
        return out + x @ self.lora_A.T @ self.lora_B.T * self.scaling, bias
"""


def test_layers_shared_out_among_processes_around_layers_of_the_project(tmp_path: Path) -> None:
    package = tmp_path / "shop"
    package.mkdir()
    files = {"__init__": "", "groups": GROUPS, "linear": PARALLEL, "lora": AROUND}
    for name, source in files.items():
        (package / f"{name}.py").write_text(source)
    (package / "wrong.py").write_text(AROUND.replace("lora_alpha / lora_rank", "lora_rank / lora_alpha"))
    report = run_verify(tmp_path, driver="harness", seed=3)
    told = {
        row.group.partition(":")[0]: row.verdict
        for row in report.rows
        if row.scenario.endswith(": trained scale")
    }
    assert told == {"shop/lora.py": Verdict.OK, "shop/wrong.py": Verdict.INVERTED}


MERGES = """
from torch import nn


class Merges(nn.Module):
    def __init__(self, base_layer: nn.Linear, lora_rank: int, lora_alpha: int):
        super().__init__()
        self.base_layer, self.scaling, self.strength = base_layer, lora_alpha / lora_rank, 1.0

    def set_lora_weights(self, A, B):
        self.base_layer.weight.data += B @ A * self.scaling * self.strength

    def forward(self, x):
        return self.base_layer(x)
"""


def test_a_strength_that_is_written_into_a_merged_layer_is_not_asked_for(tmp_path: Path) -> None:
    (tmp_path / "merges.py").write_text(MERGES)
    told_with = MERGES.replace("A, B):", "A, B, strength=1.0):").replace("self.strength\n", "strength\n")
    (tmp_path / "told.py").write_text(told_with)
    report = run_verify(tmp_path, driver="harness", seed=3)
    strengths = [row for row in report.rows if ": strength" in row.scenario]
    assert not [row for row in report.rows if row.is_failure]
    assert {row.group.partition(":")[0] for row in strengths} <= {"told.py"}
