"""LS215: an adapter without settings has the scale 1."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

PROGRAM = """
import json
from safetensors.torch import load_file

class LoraFile:
    def __init__(self, path, {parameter}):
        self.{field} = {start}
        self.load(path)

    def load(self, path):
        if path.is_dir():
            config = json.load(open(path / "adapter_config.json"))
            self.{field} = {trained}
            path = path / "adapter_model.safetensors"
        tensors = load_file(path)
        self.lora_B = {{key: tensors[key] * self.{field} for key in tensors if "lora_B" in key}}
"""
PLAIN = {
    "parameter": "scale=4.0",
    "field": "scale",
    "start": "scale",
    "trained": 'config["lora_alpha"] / config["r"]',
}


def codes(folder: Path, **parts: str) -> list[str]:
    source = PROGRAM.format(**{**PLAIN, **parts})
    return [item.code for item in lint_files(folder, {"lora_file.py": source}, codes=["LS215"])]


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"parameter": "*, scaling: float = 0.5", "field": "scaling", "start": "scaling"},
        {"trained": 'float(config["lora_alpha"]) / config["r"]', "field": "lora_scale"},
    ],
)
def test_found(parts: dict[str, str], tmp_path: Path) -> None:
    assert codes(tmp_path, **parts) == ["LS215"]


@pytest.mark.parametrize(
    "parts",
    [
        {"parameter": "scale=1.0"},
        {"parameter": "scale"},
        # the scale itself is what such settings hold
        {"parameter": "scale=20.0", "trained": 'config["scale"]'},
        {"trained": 'config["strength"]'},
    ],
)
def test_silent(parts: dict[str, str], tmp_path: Path) -> None:
    assert codes(tmp_path, **parts) == []
