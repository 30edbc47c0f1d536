"""LS114 on strengths that are multiplied onto every tensor of an adapter file."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorascale_lint.engine import lint


def codes(folder: Path, source: str) -> list[str]:
    """Codes of LS114 in one file."""
    path = folder / "lora_nodes.py"
    path.write_text(source)
    return [finding.code for finding in lint([path], [], codes=["LS114"]).findings]


COMBINE = """
class CombineLoras:
    def combine(self, lora1, lora2, strength1, strength2):
        merged = {{}}
        for key in set(lora1.keys()) | set(lora2.keys()):
            {body}
        return merged
"""
LOAD = """
import comfy.utils


def scale_lora(lora_name, strength):
    tensors = comfy.utils.load_torch_file(lora_name)
    {body}
    return tensors
"""


@pytest.mark.parametrize(
    "source",
    [
        COMBINE.format(
            body="one = lora1.get(key, torch.zeros_like(lora2[key]) if key in lora2 else None)\n"
            "            two = lora2.get(key, torch.zeros_like(lora1[key]) if key in lora1 else None)\n"
            "            if one is not None and two is not None:\n"
            "                merged[key] = strength1 * one + strength2 * two"
        ),
        COMBINE.format(body="merged[key] = lora1[key] * strength1 + lora2[key] * strength2"),
        COMBINE.format(
            body="if key in lora1:\n                merged[key] = lora1[key].float() * strength1\n"
            "            if key in lora2:\n"
            "                merged[key] = merged.get(key, 0) + lora2[key] * strength2"
        ),
        LOAD.format(body="for key in tensors:\n        tensors[key] = tensors[key] * strength"),
        LOAD.format(body="for key in list(tensors.keys()):\n        tensors[key] *= strength"),
        LOAD.format(body="tensors = {key: value * strength for key, value in tensors.items()}"),
    ],
)
def test_every_entry_gets_the_strength(source: str, tmp_path: Path) -> None:
    assert codes(tmp_path, source) == ["LS114"]


@pytest.mark.parametrize(
    "source",
    [
        LOAD.format(
            body='for key in tensors:\n        if "lora_up" in key:\n'
            "            tensors[key] = tensors[key] * strength"
        ),
        LOAD.format(body='tensors = {k: v * strength if ".lora_B." in k else v for k, v in tensors.items()}'),
        LOAD.format(body="tensors = {k: v * strength if is_up(k) else v for k, v in tensors.items()}"),
        LOAD.format(body="tensors = {k: v * strength for k, v in merge(tensors).items()}"),
        COMBINE.format(body="merged[key] = lora1[key] * 0.5 + lora2[key] * 0.5"),
        COMBINE.replace("lora1", "lora_deltas1").format(body="merged[key] = lora_deltas1[key] * strength1"),
        COMBINE.format(body="merged[key] = lora1[key] * strength1 * self.mask(key)"),
    ],
)
def test_silent(source: str, tmp_path: Path) -> None:
    assert codes(tmp_path, source) == []
