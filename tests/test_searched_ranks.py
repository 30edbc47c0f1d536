"""LS114 on weights that are trained themselves, in a search for the rank."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

SEARCH = """
import torch
from torch import nn


class LoraSearch(nn.Module):
    def __init__(self, base, rank):
        super().__init__()
        self.base = base
        self.lora_A = nn.Parameter(torch.randn(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))

    def sample(self, w_a, w_b, masks, weights):
        a = torch.stack([w_a * mask[:, None] for mask in masks])
        b = torch.stack([w_b * mask for mask in masks])
        return torch.sum(weights * a, dim=0), torch.sum({again} * b, dim=0)

    def forward(self, x, masks, weights):
        a, b = self.sample(self.lora_A, self.lora_B, masks, weights)
        return self.base(x) + x @ a.T @ b.T
"""


@pytest.mark.parametrize(("again", "count"), [("weights.detach()", 0), ("weights", 1)])
def test_weights_that_are_detached_are_trained_and_nobody_s_ratio(
    again: str, count: int, tmp_path: Path
) -> None:
    found = lint_files(tmp_path, {"lora_search.py": SEARCH.format(again=again)}, codes=["LS114"])
    assert len(found) == count
