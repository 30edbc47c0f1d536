"""Layers that one function makes with one rank: all of them get its alpha, or one is told it later."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

NESTED = """\
from torch import nn


class LoRALinear(nn.Module):
    def __init__(self, a, b, lora_rank=8, lora_alpha=16):
        super().__init__()
        self.base = nn.Linear(a, b)
        self.lora_A = nn.Linear(a, lora_rank, bias=False)
        self.lora_B = nn.Linear(lora_rank, b, bias=False)
        self.scaling = lora_alpha / lora_rank

    def forward(self, x):
        return self.base(x) + self.scaling * self.lora_B(self.lora_A(x))


class Text(nn.Module):
    def __init__(self, dim, use_lora=False, lora_rank=8, lora_alpha=16):
        super().__init__()
        self.proj = LoRALinear(dim, dim, lora_rank=lora_rank, lora_alpha=lora_alpha)


class Image(nn.Module):
    def __init__(self, dim, use_lora=False, lora_rank=8, lora_alpha=16):
        super().__init__()
        self.proj = LoRALinear(dim, dim, lora_rank=lora_rank, lora_alpha=lora_alpha)


class Model(nn.Module):
    def __init__(self, dim, use_lora=True, lora_rank=8, lora_alpha=16):
        super().__init__()
        self.text = Text(dim, use_lora=use_lora, lora_rank=lora_rank)
        self.image = Image(dim, use_lora=use_lora, lora_rank=lora_rank, lora_alpha=lora_alpha)
"""
LOW_RANK = """\
class LowRank(nn.Module):
    def __init__(self, host, rank, alpha=1.0):
        super().__init__()
        self.host = host
        self.down = nn.Linear(host.in_features, rank, bias=False)
        self.up = nn.Linear(rank, host.out_features, bias=False)
        self.gain = alpha / rank

    def forward(self, x):
        return self.host(x) + self.up(self.down(x)) * self.gain
"""
IN_A_ROW = (
    """\
from dataclasses import dataclass

from torch import nn


@dataclass
class Options:
    rank: int = 4
    alpha: float = 8.0


"""
    + LOW_RANK
    + """

def wrap(block, options):
    block.q = LowRank(block.q, options.rank, options.alpha)
    block.k = LowRank(block.k, options.rank, options.alpha)
    block.v = LowRank(block.v, options.rank)
"""
)
TOLD_LATER = (
    "from torch import nn\n\n\n"
    + LOW_RANK
    + """
    def set_alpha(self, alpha):
        self.gain = alpha / self.down.out_features


def wrap(block, options):
    block.q = LowRank(block.q, options.rank, options.alpha)
    block.v = LowRank(block.v, options.rank)
    block.v.set_alpha(options.alpha)


def sizes(block, options):
    block.q = LowRank(block.q, options.rank, options.alpha)
    block.v = LowRank(block.v, options.small_rank)
"""
)


@pytest.mark.parametrize("source", [NESTED, IN_A_ROW])
def test_one_gets_the_rank_alone(source: str, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"layers.py": source})
    assert [(item.code, item.confidence) for item in found] == [("LS206", "high")]


@pytest.mark.parametrize(
    "source",
    [
        NESTED.replace(
            "lora_rank=lora_rank)\n        self.image",
            "lora_rank=lora_rank, lora_alpha=lora_alpha)\n        self.image",
        ),
        IN_A_ROW.replace("block.v, options.rank)", "block.v, options.rank, options.alpha)"),
        TOLD_LATER,
    ],
)
def test_all_get_it(source: str, tmp_path: Path) -> None:
    assert source not in (NESTED, IN_A_ROW)
    assert not lint_files(tmp_path, {"layers.py": source})
