"""LS312: groups of a file's entries that keep alpha, and whose alpha nobody takes out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

PROGRAM = """
from collections import defaultdict
from safetensors.torch import load_file, save_file

def convert_lora(src, dst):
    groups = {start}
    for key, tensor in load_file(src).items():
        if key.endswith(".alpha"):
            {group_of_alpha}["{alpha}"] = tensor
        elif ".lora_down" in key:
            {group_of_down}["down"] = tensor
        elif ".lora_up" in key:
            {group_of_up}["up"] = tensor
    made = {{}}
    for name, group in groups.items():
{body}
    {end}
"""
PLAIN = {
    "start": "{}",
    "alpha": "alpha",
    "group_of_alpha": 'groups.setdefault(key.removesuffix(".alpha"), {})',
    "group_of_down": 'groups.setdefault(key.split(".lora_down")[0], {})',
    "group_of_up": 'groups.setdefault(key.split(".lora_up")[0], {})',
    "body": '        made[f"{name}.lora_A.weight"] = group["down"]\n'
    '        made[f"{name}.lora_B.weight"] = group["up"]',
    "end": "save_file(made, dst)",
}
DEFAULT = {
    "start": "defaultdict(dict)",
    "group_of_alpha": 'groups[key.removesuffix(".alpha")]',
    "group_of_down": 'groups[key.split(".lora_down")[0]]',
    "group_of_up": 'groups[key.split(".lora_up")[0]]',
}


def codes(folder: Path, **parts: str) -> list[str]:
    source = PROGRAM.format(**{**PLAIN, **parts})
    return [item.code for item in lint_files(folder, {"convert.py": source}, codes=["LS312"])]


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"alpha": "alpha_scale"},
        {"alpha": "network_alpha", "end": "return made"},
        DEFAULT,
        {"body": '        down, up = group["down"], group["up"]\n'
                 '        made[name + ".lora_A.weight"] = down.contiguous()\n'
                 '        made[name + ".lora_B.weight"] = up.to("cpu")'},
        {"body": '        made.update({f"{name}.lora_A.weight": group["down"],'
                 ' f"{name}.lora_B.weight": group["up"]})'},
    ],
)  # fmt: skip
def test_found(parts: dict[str, str], tmp_path: Path) -> None:
    assert codes(tmp_path, **parts) == ["LS312"]


@pytest.mark.parametrize(
    "parts",
    [
        {"body": PLAIN["body"] + '\n        made[f"{name}.alpha"] = group["alpha"]'},
        {"end": 'save_file({"lora": made, "about": {"alphas": groups}}, dst)'},
        {"body": PLAIN["body"] + '\n        if "alpha" in group:\n'
                 '            made[f"{name}.alpha"] = group.pop("alpha")'},
        {"body": '        scale = group["alpha"] / group["down"].shape[0]\n'
                 '        made[f"{name}.lora_A.weight"] = group["down"] * scale\n'
                 '        made[f"{name}.lora_B.weight"] = group["up"]'},
        {"body": '        for part, tensor in group.items():\n            made[f"{name}.{part}"] = tensor'},
        {"end": "return made, groups"},
        {"body": "        write_group(made, name, group)"},
        {"body": PLAIN["body"] + "\n        scale(made, group)"},
    ],
)  # fmt: skip
def test_silent(parts: dict[str, str], tmp_path: Path) -> None:
    assert codes(tmp_path, **parts) == []
