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
