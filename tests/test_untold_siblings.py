"""LS409 where layers are made kind by kind: what one kind is told, the others are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

BUILD = """\
import torch
from backend import {names}


def make_layer(module, cfg):
    {first}
    if isinstance(module, torch.nn.Linear):
        made = LoraLinear(module, rank=cfg.rank, lora_alpha=cfg.lora_alpha, use_rslora=cfg.use_rslora)
    elif isinstance(module, torch.nn.Conv2d):
        made = LoraConv(module, rank=cfg.rank, lora_alpha=cfg.lora_alpha, use_rslora=cfg.use_rslora)
    else:
        made = {last}
    return made
"""
NAMES = "LoraLinear, LoraConv, LoraQuant, LoHaQuant"


def rows(folder: Path, last: str, first: str = "made = None", source: str = BUILD) -> list[int]:
    text = source.format(names=NAMES, last=last, first=first)
    return [item.span.start.row for item in lint_files(folder, {"build_lora.py": text}, codes=["LS409"])]


def test_one_kind_is_not_told(tmp_path: Path):
    assert rows(tmp_path, "LoraQuant(module, rank=cfg.rank, lora_alpha=cfg.lora_alpha)") == [12]


@pytest.mark.parametrize(
    ("last", "first"),
    [
        (
            "LoraQuant(module, rank=cfg.rank, lora_alpha=cfg.lora_alpha, use_rslora=cfg.use_rslora)",
            "made = None",
        ),
        ("LoraQuant(module, cfg)", "made = None"),
        ("LoraQuant(module, rank=cfg.rank, lora_alpha=cfg.lora_alpha, **cfg.extra)", "made = None"),
        ("LoraQuant(module, rank=cfg.other.rank, lora_alpha=cfg.other.lora_alpha)", "made = None"),
        ("LoHaQuant(module, rank=cfg.rank, lora_alpha=cfg.lora_alpha)", "made = None"),
        (
            "LoraQuant(module, rank=cfg.rank, lora_alpha=cfg.lora_alpha)",
            "if cfg.use_rslora and module.quantized: raise ValueError('not supported')",
        ),
    ],
)
def test_kinds_that_are_told_or_have_no_such_divisor(tmp_path: Path, last: str, first: str):
    assert rows(tmp_path, last, first) == []


def test_one_told_kind_is_no_rule_for_the_other(tmp_path: Path):
    source = BUILD.replace(", use_rslora=cfg.use_rslora)\n    elif", ")\n    elif")
    assert rows(tmp_path, "LoraQuant(module, rank=cfg.rank, lora_alpha=cfg.lora_alpha)", source=source) == []
