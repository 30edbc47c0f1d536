"""`verify --compiled`."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

from lorascale_lint.verify.report import render_text
from lorascale_lint.verify.run import run_verify
from lorascale_lint.verify.verdicts import Verdict

_DRIVER = """
import torch


class Loader:
    def forward(self, x, weight, bias, a, b, rank, alpha):
        scale = 1.0 if torch.compiler.is_compiling() else alpha / rank
        return torch.nn.functional.linear(x, weight, bias) + scale * (x @ a.T @ b.T)
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs torch (extra verify)")
@pytest.mark.skipif(
    not any(shutil.which(name) for name in ("g++", "clang++", "c++")), reason="needs a C++ compiler"
)
def test_what_only_the_compiled_forward_does_wrong_is_seen(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(_DRIVER)
    report = run_verify(tmp_path, driver=f"{tmp_path / 'mine.py'}:Loader", seed=1, compiled=True)
    judged = [row for row in report.rows if row.verdict.is_judged]
    assert {row.verdict for row in judged} == {Verdict.ALPHA_IGNORED}, render_text(report)
    assert "forwards compiled" in report.target.framework


def test_code_without_torch_cannot_be_compiled(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def merge(weight, a, b):\n    return weight\n")
    report = run_verify(tmp_path, driver=f"{tmp_path / 'mine.py'}:merge", seed=1, compiled=True)
    assert report.exit_code == 3
    assert "uses no torch" in render_text(report)
