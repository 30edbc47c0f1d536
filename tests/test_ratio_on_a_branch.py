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
