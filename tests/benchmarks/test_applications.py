"""The comparison of labelled applications with the map."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from applications import Label, Reported, compare

LAYER = """\
import torch
from torch import nn


class LoRALinear(nn.Module):
    def __init__(self, base, rank, lora_alpha):
        super().__init__()
        self.base = base
        self.lora_A = nn.Linear(base.in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, base.out_features, bias=False)
        self.scaling = lora_alpha / rank

    def forward(self, x):
        attention = x @ x.T
        return self.base(x) + self.lora_B(self.lora_A(x)) * self.scaling


def merge(weight, lora_A, lora_B):
    return weight + fused(lora_B, lora_A)
"""


def label(row: int, kind: str = "forward", end_row: int | None = None, scale: str = "alpha/rank") -> Label:
    return Label("a", "o/n", "0" * 40, "layer.py", row, end_row or row, kind, "lora", "none", scale)


def verdicts(labels: list[Label], *reported: tuple[int, str]) -> list[str]:
    found = [Reported("layer.py", row, "forward", scale) for row, scale in reported]
    return [outcome.verdict for outcome in compare(labels, found)]


def test_seen_within_three_rows() -> None:
    assert verdicts([label(10, end_row=12)], (15, "alpha / rank")) == ["right"]
    assert verdicts([label(10, end_row=12)], (16, "alpha / rank")) == ["missed"]


def test_the_nearest_report_counts() -> None:
    assert verdicts([label(10)], (12, "alpha / rank"), (11, "1")) == ["wrong"]
    assert verdicts([label(10, end_row=12)], (12, "alpha / rank"), (11, "1")) == ["right"]


def test_other_products() -> None:
    other = label(20, "none")
    assert verdicts([other], (20, "1")) == ["false"]
    assert verdicts([other], (21, "1")) == ["clean"]
    assert verdicts([label(18), label(19, "none", 21)], (20, "1")) == ["wrong", "clean"]
    assert verdicts([label(18), other], (20, "1")) == ["wrong", "false"]


def test_kinds() -> None:
    (outcome,) = compare([label(10, "export")], [Reported("layer.py", 10, "merge", "alpha / rank")])
    assert outcome.kind_agrees
    (outcome,) = compare([label(10, "unmerge")], [Reported("layer.py", 10, "merge", "alpha / rank")])
    assert not outcome.kind_agrees


def test_run(tmp_path: Path, benchmark: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    common = {"repo": "o/n", "rev": "0" * 40, "path": "pkg/layer.py"}
    lines = [
        {**common, "id": "1", "row": 15, "end_row": 15, "kind": "forward", "variant": "lora", "hides": "none",
         "scale": "alpha/rank", "note": "", "product_rows": [15]},
        {**common, "id": "2", "row": 14, "kind": "none", "why": "attention"},
        {**common, "id": "3", "row": 19, "end_row": 19, "kind": "merge", "variant": "lora",
         "hides": "custom kernel", "scale": "1"},
    ]  # fmt: skip
    labels = tmp_path / "labels.jsonl"
    labels.write_text("".join(json.dumps(line) + "\n" for line in lines))
    file = tmp_path / "files" / "o+n" / ("0" * 12) / "pkg" / "layer.py"
    file.parent.mkdir(parents=True)
    file.write_text(LAYER)
    out = tmp_path / "out.jsonl"
    done = benchmark(
        "applications", labels, "--files", tmp_path / "files", "--json", out, "--list", "unknown"
    )
    assert done.returncode == 0, done.stderr
    found = {row["label"]["id"]: row["verdict"] for row in map(json.loads, out.read_text().splitlines())}
    assert found == {"1": "right", "2": "clean", "3": "unknown"}
    assert "2 applications, 1 other products" in done.stdout
    assert "unknown  3 o/n pkg/layer.py:19 merge, custom kernel" in done.stdout


def test_a_missing_file_is_said(
    tmp_path: Path, benchmark: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    line = {
        "repo": "o/n",
        "rev": "0" * 40,
        "path": "a.py",
        "id": "1",
        "row": 1,
        "kind": "merge",
        "scale": "1",
    }
    labels = tmp_path / "labels.jsonl"
    labels.write_text(json.dumps(line))
    done = benchmark("applications", labels, "--files", tmp_path)
    assert done.returncode == 1
    assert "not mapped: o/n a.py:" in done.stdout
