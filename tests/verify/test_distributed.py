"""`verify --distributed`: layers that several processes share."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

from lorascale_lint.verify import session
from lorascale_lint.verify.protocol import Capability, LayerKind
from lorascale_lint.verify.report import VerifyReport, render_text
from lorascale_lint.verify.run import run_verify
from lorascale_lint.verify.sharded import sharded_scenarios
from lorascale_lint.verify.verdicts import Verdict
from tests.verify.test_run import DRIVER, HERE, _mentioning

# torchrun is a part of torch.
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs torch")


def shared(behaviour: str, folder: Path, timeout: float | None = None) -> VerifyReport:
    folder.mkdir()
    shutil.copy(HERE / "tiny_target.py", folder)
    (folder / "behaviour.txt").write_text(behaviour)
    return run_verify(folder, driver=DRIVER, seed=3, distributed=2, timeout=timeout)


def test_one_kind_is_sharded_and_the_others_are_parallel() -> None:
    kinds = [LayerKind("Plain"), LayerKind("Column"), LayerKind("Fused", optional=True)]
    asked = sharded_scenarios(kinds, frozenset(Capability))
    assert {(item.layer.kind, item.layer.sharded) for item in asked if item.layer} == {
        ("Plain", True),
        ("Column", False),
        ("Fused", False),
    }
    assert len({item.name for item in asked}) == len(asked)


@needs_torch
def test_the_rank_that_is_wrong_is_named(tmp_path: Path) -> None:
    report = shared("rank-unscaled", tmp_path / "target")
    row = report.rows[0]
    assert row.verdict is Verdict.ALPHA_IGNORED
    assert "on rank 1" in row.detail
    assert row.observed == pytest.approx(1.0)
    assert report.exit_code == 1


@needs_torch
def test_ranks_that_agree_are_right(tmp_path: Path) -> None:
    report = shared("right", tmp_path / "target")
    assert report.exit_code == 0, render_text(report)
    assert {row.verdict for row in report.rows} == {Verdict.OK}


@needs_torch
def test_a_rank_that_hangs_is_ended_with_all_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MAX_RESTARTS", 0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    report = shared("rank-hangs", tmp_path / "target", timeout=2.0)
    assert report.rows[0].verdict is Verdict.CRASHED
    assert "no answer within 2 s" in report.rows[0].detail
    if Path("/proc").is_dir():
        assert not _mentioning(str(tmp_path))


@needs_torch
def test_a_rank_that_dies_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MAX_RESTARTS", 0)
    report = shared("rank-dies", tmp_path / "target")
    assert report.rows[0].verdict is Verdict.CRASHED
    assert "rank 1 died of SIGSEGV" in report.rows[0].detail


@needs_torch
def test_code_without_ranks_is_not_judged(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def merge(weight, a, b):\n    return weight\n")
    report = run_verify(tmp_path, driver=f"{tmp_path / 'mine.py'}:merge", distributed=2)
    assert {row.verdict for row in report.rows} == {Verdict.UNSUPPORTED}
    assert report.exit_code == 3


@needs_torch
def test_a_driver_of_one_process_says_so(tmp_path: Path) -> None:
    tree = tmp_path / "diffsynth"
    tree.mkdir()
    (tree / "__init__.py").touch()
    report = run_verify(tmp_path, distributed=2)
    assert report.exit_code == 3
    assert "diffsynth runs in one process only" in render_text(report)
