"""LS402: layers with rsLoRA's scale, and a configuration for PEFT beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

STUDY = """
import json
import math

from torch import nn


class StableLoRA(nn.Module):
    def __init__(self, base, rank, alpha):
        super().__init__()
        self.base, self.rank, self.alpha = base, rank, alpha
        self.lora_A = nn.Linear(base.in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, base.out_features, bias=False)

    def forward(self, x):
        return self.base(x) + self.alpha / {divisor} * self.lora_B(self.lora_A(x))


def export(out, rank, alpha):
    config = {{"peft_type": "LORA", "r": rank, "lora_alpha": {alpha}, "bias": "none"{more}}}
    (out / "adapter_config.json").write_text(json.dumps(config))
"""


@pytest.mark.parametrize(
    ("divisor", "alpha", "more", "count"),
    [
        ("math.sqrt(self.rank)", "alpha", "", 1),
        ("self.rank**0.5", "alpha", "", 1),
        ("self.rank", "alpha", "", 0),
        ("math.sqrt(self.rank)", "alpha", ', "use_rslora": True', 0),
        ("math.sqrt(self.rank)", "alpha * math.sqrt(rank)", "", 0),
    ],
)
def test_a_configuration_for_peft(divisor: str, alpha: str, more: str, count: int, tmp_path: Path) -> None:
    source = STUDY.format(divisor=divisor, alpha=alpha, more=more)
    found = lint_files(tmp_path, {"lora_study.py": source}, codes={"LS402"})
    assert [item.confidence for item in found] == ["high"] * count
