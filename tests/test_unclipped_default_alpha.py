"""LS211: which clipped ranks leave a default alpha behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorascale_lint.engine import lint
from tests.projects import fix_files, lint_files

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


def test_callers_mostly_give_an_alpha(tmp_path: Path) -> None:
    layer = LAYER.format(body=CLIP + "self.scaling = (alpha or lora_rank) / self.rank")
    (found,) = lint_files(tmp_path, {"lora_conv.py": layer}, codes=["LS211"])
    assert found.confidence == "medium"


@pytest.mark.parametrize(
    ("body", "before", "after"),
    [
        (CLIP + "self.scaling = (alpha or lora_rank) / self.rank", "or lora_rank", "or self.rank"),
        (
            CLIP + "self.alpha = lora_rank if alpha is None else alpha\n"
            "        self.scaling = self.alpha / self.rank",
            "= lora_rank if",
            "= self.rank if",
        ),
        (
            "rank = min(lora_rank, module.out_channels)\n"
            "        self.scale = (alpha if alpha is not None else lora_rank) / rank",
            "else lora_rank",
            "else rank",
        ),
    ],
)
def test_repaired(body: str, before: str, after: str, tmp_path: Path) -> None:
    source = LAYER.format(body=body) + "\n"
    assert fix_files(tmp_path, {"lora_conv.py": source}, codes=["LS211"])[0] == {"lora_conv.py": source}
    texts, left = fix_files(tmp_path, {"lora_conv.py": source}, codes=["LS211"], unsafe=True)
    assert texts == {"lora_conv.py": source.replace(before, after)}
    assert [item.code for item in left if item.code == "LS211"] == []


@pytest.mark.parametrize(
    "body",
    [
        CLIP + "if alpha is None:\n            alpha = lora_rank\n        self.scale = alpha / self.rank",
        "alpha = alpha or lora_rank\n        self.rank = min(lora_rank, module.in_channels)\n"
        "        self.scale = alpha / self.rank",
    ],
)
def test_not_repaired(body: str, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora_conv.py": LAYER.format(body=body)}, codes=["LS211"])
    assert [item.fix for item in found] == [None]
