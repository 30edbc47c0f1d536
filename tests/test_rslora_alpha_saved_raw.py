"""LS402: which saved alphas a reader that divides by the rank gets right."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorascale_lint.engine import lint

MODULE = """
import math

import torch


class LoHaModule(torch.nn.Module):
    def __init__(self, lora_dim, alpha=None, use_rslora=False, config=None):
        super().__init__()
        self.lora_dim = lora_dim
        self.use_rslora = use_rslora
        alpha = lora_dim if alpha is None else alpha
        r_factor = lora_dim
        if self.use_rslora:
            r_factor = math.sqrt(r_factor)
        self.scale = alpha / r_factor
        SAVED
"""

RAW = 'self.register_buffer("alpha", torch.tensor(alpha))'


def codes(folder: Path, source: str) -> list[str]:
    """Codes of LS402 findings in one file."""
    path = folder / "lora_module.py"
    path.write_text(source)
    return [finding.code for finding in lint([path], [], codes=["LS402"]).findings]


@pytest.mark.parametrize(
    "saved",
    [
        RAW,
        'self.register_buffer(name="alpha", tensor=torch.tensor(float(alpha)))',
        "self.alpha = torch.nn.Parameter(torch.tensor(alpha), requires_grad=False)",
    ],
)
def test_fires(saved: str, tmp_path: Path) -> None:
    assert codes(tmp_path, MODULE.replace("SAVED", saved)) == ["LS402"]


@pytest.mark.parametrize(
    "saved",
    [
        'self.register_buffer("alpha", torch.tensor(alpha * (lora_dim / r_factor)))',
        'self.register_buffer("alpha", torch.tensor(self.scale * lora_dim))',
        'self.register_buffer("alpha", torch.tensor(alpha), persistent=False)',
        'self.register_buffer("alpha", torch.tensor(effective(alpha, r_factor)))',
        RAW + '\n        self.register_buffer("use_rslora", torch.tensor(use_rslora))',
        RAW + '\n\n    def save(self, f):\n        save_file({}, f, metadata={"use_rslora": "1"})',
    ],
)
def test_silent(saved: str, tmp_path: Path) -> None:
    assert codes(tmp_path, MODULE.replace("SAVED", saved)) == []


def test_a_flag_of_a_configuration_may_be_saved_with_it(tmp_path: Path) -> None:
    source = MODULE.replace("SAVED", RAW).replace("if self.use_rslora", "if config.use_rslora")
    assert codes(tmp_path, source) == []


def test_a_module_without_the_flag_is_silent(tmp_path: Path) -> None:
    source = MODULE.replace("SAVED", RAW).replace("if self.use_rslora", "if self.training")
    assert codes(tmp_path, source) == []


def test_a_caller_that_switches_the_flag_off_says_nothing(tmp_path: Path) -> None:
    kept = MODULE.replace(
        "SAVED", 'self.register_buffer("alpha", torch.tensor(alpha * (lora_dim / r_factor)))'
    )
    assert codes(tmp_path, kept + "\n\ndef make(dim):\n    return LoHaModule(dim, alpha=1.0)\n") == []
