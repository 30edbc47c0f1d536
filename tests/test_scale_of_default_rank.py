"""LS229: layers with a rank of their own, at the scale of that rank and at that of the default."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

SOURCE = """\
class LoraLinear:
    def __init__(self, base, rank, scale):
        self.base, self.rank, self.scale = base, rank, scale


def wrap(name, base, cfg):
    {body}
"""
WRONG = {
    "table": "rank = cfg.rank_pattern.get(name, cfg.r)\n"
    "    return LoraLinear(base, rank, cfg.lora_alpha / cfg.r)",
    "conditional": "r = cfg.ranks[name] if name in cfg.ranks else cfg.rank\n"
    "    scale = cfg.lora_alpha / cfg.rank\n    return LoraLinear(base, rank=r, scale=scale)",
}
RIGHT = {
    "own rank": "rank = cfg.rank_pattern.get(name, cfg.r)\n"
    "    return LoraLinear(base, rank, cfg.lora_alpha / rank)",
    "one rank": "return LoraLinear(base, cfg.r, cfg.lora_alpha / cfg.r)",
    "both from tables": "rank = cfg.rank_pattern.get(name, cfg.r)\n"
    "    alpha = cfg.alpha_pattern.get(name, cfg.lora_alpha)\n"
    "    return LoraLinear(base, rank, alpha / rank)",
}


@pytest.mark.parametrize("name", WRONG)
def test_divided_by_the_default(name: str, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora_model.py": SOURCE.format(body=WRONG[name])}, codes=["LS229"])
    assert len(found) == 1


@pytest.mark.parametrize("name", RIGHT)
def test_silent(name: str, tmp_path: Path) -> None:
    assert not lint_files(tmp_path, {"lora_model.py": SOURCE.format(body=RIGHT[name])}, codes=["LS229"])


SLOTS = """\
import torch
import torch.nn.functional as F


class LoraSlots:
    def __init__(self, base, slots, max_rank):
        self.base, self.max_rank = base, max_rank
        self.lora_A = torch.zeros(slots, max_rank, base.in_features)
        self.lora_B = torch.zeros(slots, base.out_features, max_rank)
        self.scale = torch.ones(slots)

    def fill(self, i, a, b, alpha):
        r = a.shape[0]
        self.lora_A[i, :r] = a
        self.lora_B[i, :, :r] = b
        self.scale[i] = alpha / {below}
"""
BANK = """\
import torch.nn.functional as F


class LoraBank:
    def __init__(self, max_rank):
        self.max_rank, self.A, self.B, self.scale = max_rank, [], [], []

    def add(self, lora_a, lora_b, alpha):
        r = lora_a.shape[0]
        room = F.pad(lora_b, (0, self.max_rank - r))
        {name} = F.pad(lora_a, (0, 0, 0, self.max_rank - r))
        self.A.append({name})
        self.B.append(room)
        self.scale.append(alpha / {below})
"""


@pytest.mark.parametrize(
    ("source", "count"),
    [
        (SLOTS.format(below="self.max_rank"), 1),
        (SLOTS.format(below="r"), 0),
        (SLOTS.format(below="a.shape[0]"), 0),
        (BANK.format(name="lora_a", below="lora_a.shape[0]"), 1),
        (BANK.format(name="wide", below="lora_a.shape[0]"), 0),
        (BANK.format(name="wide", below="r"), 0),
        (BANK.format(name="wide", below="self.max_rank"), 1),
    ],
)
def test_padded_factors(source: str, count: int, tmp_path: Path) -> None:
    """Rows of zeros are no rank."""
    assert len(lint_files(tmp_path, {"lora_slots.py": source}, codes=["LS229"])) == count
