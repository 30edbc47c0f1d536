"""Map and number side by side, over projects."""

from __future__ import annotations

import json
from pathlib import Path

import prove
import pytest

pytest.importorskip("torch")

PROGRAM = """
import torch

def merge(weight, lora_A, lora_B, alpha):
    return weight + lora_B @ lora_A * (alpha / lora_A.shape[0])

def merge_with(weight, lora_A, lora_B, magic):
    return weight + lora_B @ lora_A * magic["there"]
"""


def test_projects_are_counted_and_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project, out = tmp_path / "project", tmp_path / "rows.jsonl"
    project.mkdir()
    (project / "program.py").write_text(PROGRAM)
    monkeypatch.setattr("sys.argv", ["prove.py", str(project), "--out", str(out)])
    assert prove.main() == 0
    first = capsys.readouterr().out
    assert "applications on the map: 2" in first
    assert "run: 1 (50%)" in first
    assert "map agrees: 1" in first
    assert "nobody knows what the parameter _ is" in first
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["outcome"] for row in rows] == ["map agrees", "not run"]
    assert prove.main() == 0
    assert capsys.readouterr().out == first
    assert len(out.read_text().splitlines()) == 2
