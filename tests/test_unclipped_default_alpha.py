"""LS211: which clipped ranks leave a default alpha behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorascale_lint.engine import lint

LAYER = """
class LoraConv:
    def __init__(self, module, lora_rank=8, alpha=None):
        self.rank = lora_rank
        {body}
"""
CLIP = "self.rank = min(self.rank, module.in_channels)\n        "


def codes(folder: Path, body: str) -> list[str]:
    """Codes of LS211 in one file."""
    path = folder / "lora_conv.py"
    path.write_text(LAYER.format(body=body))
    return [finding.code for finding in lint([path], [], codes=["LS211"]).findings]


@pytest.mark.parametrize(
    "body",
    [
        CLIP + "self.scaling = (alpha or lora_rank) / self.rank",
        CLIP + "self.alpha = lora_rank if alpha is None else alpha\n"
        "        self.scaling = self.alpha / self.rank",
        CLIP + "if alpha is None:\n            alpha = lora_rank\n        self.scale = alpha / self.rank",
        "rank = min(lora_rank, module.out_channels)\n"
        "        self.scale = (alpha if alpha is not None else lora_rank) / rank",
        "alpha = alpha or lora_rank\n        if module.kind == 'conv':\n"
        "            self.rank = min(lora_rank, module.in_channels)\n        self.scale = alpha / self.rank",
    ],
)
def test_the_default_is_not_clipped(body: str, tmp_path: Path) -> None:
    assert codes(tmp_path, body) == ["LS211"]


@pytest.mark.parametrize(
    "body",
    [
        CLIP + "self.scaling = (alpha or self.rank) / self.rank",
        CLIP + "self.scaling = (alpha or 1.0) / self.rank",
        "lora_rank = min(lora_rank, module.in_channels)\n"
        "        self.scaling = (alpha or lora_rank) / lora_rank",
        "self.scaling = (alpha or lora_rank) / self.rank",
        CLIP + "self.scaling = alpha / self.rank",
        CLIP + "self.scaling = (alpha or lora_rank) / lora_rank",
    ],
)
def test_silent(body: str, tmp_path: Path) -> None:
    assert codes(tmp_path, body) == []
