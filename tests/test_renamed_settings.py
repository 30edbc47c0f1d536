"""LS244 on settings that are written for another program."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

TO_PEFT = """
import json


def convert_settings(source, target):
    with open(source / "adapter_config.json") as file:
        settings = json.load(file)
    given = settings.get("lora_parameters", {{}})
    rank = given.get("rank", 8)
    alpha = {alpha}
    written = {{"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "lora_dropout": 0.0}}
    with open(target / "adapter_config.json", "w") as file:
        json.dump(written, file)
"""
TO_MLX = """
import json


def convert_settings(source, target):
    settings = json.loads((source / "adapter_config.json").read_text())
    written = {{"rank": settings["r"], {scale}, "dropout": settings.get("lora_dropout", 0.0)}}
    (target / "adapter_config.json").write_text(json.dumps({{"lora_parameters": written}}))
"""


@pytest.mark.parametrize(
    ("alpha", "count"),
    [
        ('given.get("scale", 20.0)', 1),
        ('given["scale"]', 1),
        ('given["scale"] * rank', 0),
        ('given.get("scale", 20.0) * rank', 0),
        ('given["alpha"]', 0),
        ('given.get("alpha", given["scale"])', 0),
    ],
)
def test_a_scale_under_the_name_of_an_alpha(alpha: str, count: int, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"to_peft_lora.py": TO_PEFT.format(alpha=alpha)}, codes=["LS244"])
    assert [finding.confidence for finding in found] == ["medium"] * count


@pytest.mark.parametrize(
    ("scale", "count"),
    [
        ('"scale": settings["lora_alpha"]', 1),
        ('"scale": settings["lora_alpha"] / settings["r"]', 0),
        ('"alpha": settings["lora_alpha"], "scale": 10.0', 0),
        ('"alpha": settings["lora_alpha"]', 0),
    ],
)
def test_an_alpha_as_a_scale(scale: str, count: int, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"to_mlx_lora.py": TO_MLX.format(scale=scale)}, codes=["LS244"])
    assert [finding.confidence for finding in found] == ["medium"] * count
