"""LS114 where the number for both factors is chosen by a condition."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

SOURCE = """\
import math


def parts(sd, name, strength, split=True, sided=False):
    root = {root}
    other = {other}
    up = sd[name + ".lora_up.weight"] * root
    down = sd[name + ".lora_down.weight"] * other
    return up, down, sd[name + ".alpha"]
"""


def rows(folder: Path, root: str, other: str = "root") -> list[int]:
    source = SOURCE.format(root=root, other=other)
    found = lint_files(folder, {"lora_parts.py": source}, codes=["LS114"])
    return [item.span.start.row for item in found]


@pytest.mark.parametrize(
    "root",
    [
        "strength",
        "math.sqrt(strength) if split else strength",
        "math.sqrt(abs(strength)) if split else abs(strength)",
        "strength if not split else strength ** 0.5",
    ],
)
def test_the_whole_number_on_some_branch(tmp_path: Path, root: str):
    assert rows(tmp_path, root) == [8]


@pytest.mark.parametrize(
    ("root", "other"),
    [
        ("math.sqrt(strength)", "root"),
        ("math.sqrt(strength) if split else strength", "math.sqrt(strength) if split else 1.0"),
        ("strength if split else 1.0", "1.0 if split else strength"),
        ("strength ** 0.5 if split else strength ** 0.5", "root"),
    ],
)
def test_the_number_once_on_each_branch(tmp_path: Path, root: str, other: str):
    assert rows(tmp_path, root, other) == []


BLEND = """\
from safetensors.torch import load_file, save_file


def blend(paths, ratios, out):
    merged = {{}}
    for path, ratio in zip(paths, ratios):
        for key, value in load_file(path).items():
            if {test}:
                part = value.float() * ratio
            else:
                part = value.float()
            merged[key] = merged.get(key, 0) + part
    save_file(merged, out)
"""


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ('"lora_up" in key or "lora_down" in key', [9]),
        ('key.endswith((".lora_up.weight", ".lora_down.weight"))', [9]),
        ('"lora_up" in key', []),
        ('key.endswith(".lora_down.weight")', []),
        ('"lora_up" not in key and "lora_down" not in key', []),
    ],
)
def test_a_test_that_both_factors_pass(tmp_path: Path, test: str, expected: list[int]):
    """A condition that names both sides tells factors from the rest, and not one from the other."""
    found = lint_files(tmp_path, {"lora_blend.py": BLEND.format(test=test)}, codes=["LS114"])
    assert [item.span.start.row for item in found] == expected
