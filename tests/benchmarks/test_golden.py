"""Frozen findings and their differences."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from golden import NotThere, Section, compare, differences, freeze, read
from known_bugs import read_entries

UNSCALED = """
import torch
from torch import nn

class LoRALinear(nn.Linear):
    def __init__(self, i, o, r, lora_alpha):
        super().__init__(i, o)
        self.lora_A = nn.Parameter(torch.randn(r, i))
        self.lora_B = nn.Parameter(torch.zeros(o, r))
        self.scaling = lora_alpha / r

    def forward(self, x):
        return super().forward(x) + x @ self.lora_A.T @ self.lora_B.T * self.scaling

    def merge(self):
        self.weight.data += self.lora_B @ self.lora_A
"""


def test_differences() -> None:
    before = {"LS101 a.py:1": "high", "LS102 a.py:2": "high", "LS103 a.py:3": "medium"}
    after = {"LS101 a.py:1": "high", "LS103 a.py:3": "high", "LS104 a.py:4": "medium"}
    assert list(differences(before, after)) == [
        "- high   LS102 a.py:2",
        "~ LS103 a.py:3: medium before, high now",
        "+ medium LS104 a.py:4",
    ]


def test_freeze_keeps_other_sections_and_compare_looks_at_the_frozen(tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    def absent() -> dict[str, str]:
        raise NotThere("no clone")

    file = tmp_path / "golden.jsonl"
    assert freeze(file, [Section("a", lambda: {"LS101 a.py:1": "high"})]) == 0
    assert freeze(file, [Section("b", dict), Section("c", absent)]) == 0
    assert read(file) == {"a": {"LS101 a.py:1": "high"}, "b": {}}
    assert compare(file, [Section("a", lambda: {"LS101 a.py:1": "high"}), Section("c", absent)]) == 0
    assert compare(file, [Section("a", dict)]) == 1
    assert compare(file, [Section("a", absent)]) == 2
    said = capsys.readouterr().out
    assert "left out: c: no clone" in said
    assert "a\n  - high   LS101 a.py:1\n" in said
    assert "not looked at: a: no clone" in said


def test_run(tmp_path: Path, benchmark: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    tree = tmp_path / "tree"
    (tree / "pkg").mkdir(parents=True)
    layer = tree / "pkg" / "layer.py"
    layer.write_text(UNSCALED)
    file = tmp_path / "golden.jsonl"
    options = ["--tree", f"mine={tree}", "--only", "tree mine"]
    assert benchmark("golden", "freeze", file, *options).returncode == 0
    (line,) = map(json.loads, file.read_text().splitlines())
    assert line["section"] == "tree mine"
    assert line["found"]["LS101 pkg/layer.py:16"] == "high"
    assert benchmark("golden", "compare", file, *options).returncode == 0
    layer.write_text(
        UNSCALED.replace("self.lora_B @ self.lora_A", "self.scaling * self.lora_B @ self.lora_A")
    )
    done = benchmark("golden", "compare", file, *options)
    assert done.returncode == 1
    assert "- high   LS101 pkg/layer.py:16" in done.stdout


def test_a_list_may_give_no_name_and_no_kind(tmp_path: Path) -> None:
    bugs = tmp_path / "bugs.jsonl"
    bugs.write_text(
        json.dumps({"repo": "o/n", "rev": "abc", "path": "a.py", "lines": [7, 9], "mechanism": "m"})
    )
    (entry,) = read_entries(bugs)
    assert (entry.name, entry.kind, entry.group, entry.revision) == ("o/n-a.py-7", "bug", "m", "abc")
