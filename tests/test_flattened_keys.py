"""LS306 where all dots of a key are replaced, and only those of the factors come back."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorascale_lint.engine import lint

CONVERT = """
import re

def to_kohya(state_dict):
    out = {{}}
    for key, value in state_dict.items():
        key = "lora_unet__" + key.replace(".lora_A.", ".lora_down.").replace(".lora_B.", ".lora_up.")
        {body}
        out[key] = value
    return out
"""
FLAT = 'key = key.replace(".", "_")\n        '


def found(folder: Path, body: str) -> list[str]:
    """Confidences of LS306 in a converter with ``body``."""
    path = folder / "convert_lora.py"
    path.write_text(CONVERT.format(body=body))
    return [finding.confidence for finding in lint([path], [], codes=["LS306"]).findings]


@pytest.mark.parametrize(
    "body",
    [
        FLAT + 'if key.endswith("_lora_up_weight"):\n            key = key[:-15] + ".lora_up.weight"\n'
        '        if key.endswith("_lora_down_weight"):\n            key = key[:-17] + ".lora_down.weight"',
        FLAT + 'key = key.replace("_lora_up_weight", ".lora_up.weight")\n'
        '        key = key.replace("_lora_down_weight", ".lora_down.weight")',
        FLAT + 'key = re.sub(r"_lora_(up|down)_weight$", r".lora_\\1.weight", key)',
        FLAT
        + 'if "lora_up" in key:\n            key = key.removesuffix("_lora_up_weight") + ".lora_up.weight"\n'
        "        else:\n"
        '            key = key.removesuffix("_lora_down_weight") + ".lora_down.weight"',
        FLAT + 'if key.endswith("_lora_up_weight"):\n            key = f"{key[:-15]}.lora_up.weight"\n'
        '        if key.endswith("_lora_down_weight"):\n            key = f"{key[:-17]}.lora_down.weight"',
    ],
)
def test_only_the_dots_of_the_factors_come_back(body: str, tmp_path: Path) -> None:
    assert found(tmp_path, body) == ["medium"]


@pytest.mark.parametrize(
    "body",
    [
        FLAT + 'key = key.replace("_lora_up_weight", ".lora_up.weight")\n'
        '        key = key.replace("_lora_down_weight", ".lora_down.weight").replace("_alpha", ".alpha")',
        FLAT + 'key = key.replace("_lora_up_weight", ".lora_up.weight")',
        FLAT,
        'if key.endswith(".alpha"):\n            continue\n        '
        + FLAT
        + 'key = key.replace("_lora_up_weight", ".lora_up.weight")\n'
        '        key = key.replace("_lora_down_weight", ".lora_down.weight")',
        FLAT + 'key = re.sub(r"_lora_(up|down)_weight$", r".lora_\\1.weight", key)\n'
        '        key = re.sub(r"_alpha$", ".alpha", key)',
        'module, _, rest = key.partition(".lora")\n        key = module.replace(".", "_") + ".lora" + rest',
    ],
)
def test_alpha_keeps_its_dot_or_is_not_at_stake(body: str, tmp_path: Path) -> None:
    assert found(tmp_path, body) == []
