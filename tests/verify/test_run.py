"""The whole way through a real child process, on a tiny target that is right or wrong on purpose."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lorascale_lint.verify import examination, packages, registry, session
from lorascale_lint.verify.report import Target, VerifyReport, render_json, render_text
from lorascale_lint.verify.run import run_verify
from lorascale_lint.verify.scenarios import scenarios
from lorascale_lint.verify.verdicts import Row, Verdict
from tests.verify.tiny_driver import prepare

HERE = Path(__file__).parent
DRIVER = f"{HERE / 'tiny_driver.py'}:ENTRY"

Verify = Callable[..., VerifyReport]
Reported = Callable[[str], VerifyReport]


@pytest.fixture
def verify(tmp_path: Path) -> Verify:
    """Run `verify` on a tiny target with a given mistake."""

    def examine(behaviour: str, **options: Any) -> VerifyReport:
        folder = tmp_path / "target"
        folder.mkdir()
        shutil.copy(HERE / "tiny_target.py", folder)
        (folder / "behaviour.txt").write_text(behaviour)
        return run_verify(folder, driver=DRIVER, seed=11, **options)

    return examine


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Reported:
    """The report on a tiny target with a given mistake, of one run for all tests that only read it."""

    @functools.cache
    def examine(behaviour: str) -> VerifyReport:
        folder = tmp_path_factory.mktemp("target")
        shutil.copy(HERE / "tiny_target.py", folder)
        (folder / "behaviour.txt").write_text(behaviour)
        return run_verify(folder, driver=DRIVER, seed=11)

    return examine


def row(report: VerifyReport, scenario: str, adapter: str = "", label: str = "") -> Row:
    (found,) = (
        row
        for row in report.rows
        if row.scenario == scenario and row.adapter == adapter and row.label == label
    )
    return found


def failing(report: VerifyReport) -> set[str]:
    return {row.title for row in report.rows if row.is_failure}


def test_right_code_matches_everywhere(reported: Reported) -> None:
    report = reported("right")
    assert failing(report) == set()
    assert report.exit_code == 0
    assert row(report, "merged, Layer, alpha 2.4").observed == pytest.approx(0.3, rel=1e-6)
    assert row(report, "file with .alpha_scale of alpha 2.4, plain names").verdict is Verdict.OK
    assert row(report, "file with lora_down/lora_up + .alpha").verdict is Verdict.UNSUPPORTED
    assert row(report, "training mode, forward, alpha 4").verdict is Verdict.UNSUPPORTED


@pytest.mark.parametrize(
    ("behaviour", "scenario", "observed", "verdict"),
    [
        ("unscaled", "merged, Layer, alpha 4", 1.0, Verdict.ALPHA_IGNORED),
        ("unscaled", "unmerged forward, Layer, alpha 4", 1.0, Verdict.ALPHA_IGNORED),
        ("unscaled", "file with .lora_alpha, plain names", 1.0, Verdict.ALPHA_IGNORED),
        ("inverted", "merged, Layer, alpha 4", 2.0, Verdict.INVERTED),
        ("double", "merged, Layer, alpha 4", 0.25, Verdict.DOUBLE_SCALED),
        ("truncated", "merged, Layer, alpha 2.4", 0.25, Verdict.TRUNCATED),
        ("undivided", "merged, Layer, alpha 4", 4.0, Verdict.RANK_IGNORED),
        ("nothing", "merged, Layer, alpha 4", 0.0, Verdict.NOT_APPLIED),
        ("strengthless", "merged, strength .5, alpha 6", 0.75, Verdict.STRENGTH_IGNORED),
        ("nan", "merged, Layer, alpha 4", None, Verdict.ERROR),
        ("alpha-dropped", "file with .alpha, published names", 1.0, Verdict.ALPHA_IGNORED),
        ("raises", "merged, Layer, alpha 4", None, Verdict.CRASHED),
        ("bad-shape", "merged forward, Layer", None, Verdict.CRASHED),
    ],
)
def test_mistakes_are_named(
    reported: Reported, behaviour: str, scenario: str, observed: float | None, verdict: Verdict
) -> None:
    report = reported(behaviour)
    found = row(report, scenario)
    assert found.verdict is verdict
    assert found.observed == (None if observed is None else pytest.approx(observed, abs=1e-6))
    assert report.exit_code == 1


def test_truncation_is_seen_only_where_it_matters(reported: Reported) -> None:
    report = reported("truncated")
    assert row(report, "merged, Layer, alpha 4").verdict is Verdict.OK


def test_a_wrong_direction_is_not_a_wrong_scale(reported: Reported) -> None:
    assert row(reported("wrong-direction"), "merged, Layer, alpha 4").verdict is Verdict.WRONG_DIRECTION


def test_what_an_unmerge_leaves_is_seen(reported: Reported) -> None:
    found = row(reported("residual"), "unmerge, Layer", label="after unmerge")
    assert found.verdict is Verdict.RESIDUAL_AFTER_UNMERGE
    assert found.observed == pytest.approx(0.5, abs=1e-6)


def test_what_a_switch_leaves_is_seen(reported: Reported) -> None:
    report = reported("forgetful")
    assert failing(report) == {"A on all layers, then B on some: other layers"}
    assert row(report, "A on all layers, then B on some", "A", "other layers").verdict is (
        Verdict.RESIDUAL_AFTER_SWITCH
    )


def test_an_alpha_of_before_is_seen(reported: Reported) -> None:
    report = reported("stale")
    found = row(report, "factors with alpha 6, then others without alpha", "B")
    assert found.verdict is Verdict.STALE_ALPHA


def test_one_alpha_for_all_layers_is_seen(reported: Reported) -> None:
    report = reported("first-alpha")
    assert failing(report) == {"file with .lora_alpha, alpha and rank of every layer its own"}


def test_a_mistake_of_our_own_is_not_blamed_on_the_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(HERE / "tiny_target.py", tmp_path)
    (tmp_path / "behaviour.txt").write_text("right")

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(examination, "fit", broken)
    driver = prepare(tmp_path, "full")
    rows: list[Row] = []
    for scenario in scenarios(driver.layer_kinds, driver.capabilities):
        examination.examine(scenario, driver, 1, tmp_path / "files", rows.append)
    assert {row.verdict for row in rows} == {Verdict.NOT_MEASURED, Verdict.UNSUPPORTED}
    report = VerifyReport(Target(path="."), 1, tuple(rows))
    assert report.exit_code == 2
    assert "not made" in render_text(report)


def test_garbage_on_stdout_changes_nothing(reported: Reported) -> None:
    assert reported("noisy").exit_code == 0


@pytest.mark.parametrize(("behaviour", "words"), [("exits", "exit status 0"), ("aborts", "SIGABRT")])
def test_a_dying_child_costs_one_scenario(reported: Reported, behaviour: str, words: str) -> None:
    report = reported(behaviour)
    crashed = [row for row in report.rows if row.verdict is Verdict.CRASHED]
    assert {row.alpha for row in crashed} == {2.4}
    assert all(words in row.detail for row in crashed)
    assert row(report, "merged, Layer, alpha 16").verdict is Verdict.OK
    assert row(report, "merge, unmerge, merge", label="merged again").verdict is Verdict.OK
    assert report.exit_code == 1


def test_a_restart_gives_the_same_numbers(reported: Reported) -> None:
    disturbed = row(reported("exits"), "merged, Layer, alpha 16")
    assert row(reported("right"), "merged, Layer, alpha 16").observed == disturbed.observed


def test_a_hanging_child_is_ended_with_its_children(
    verify: Verify, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(session, "MAX_RESTARTS", 0)
    begin = time.monotonic()
    report = verify("hangs", timeout=1.0)
    assert time.monotonic() - begin < 60
    hanging = row(report, "merged, Layer, alpha 2.4")
    assert hanging.verdict is Verdict.CRASHED
    assert "no answer within 1 s" in hanging.detail
    if Path("/proc").is_dir():
        assert not _mentioning(str(tmp_path))


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
@pytest.mark.parametrize(
    ("behaviour", "timeout", "words"),
    [
        ("loops", 1.0, "no answer within 1 s"),
        ("allocates", 20.0, "held more than 0.25 GiB of memory"),
        ("prints", 20.0, "printing 64 MiB"),
        ("exits", 20.0, "exit status 0"),
    ],
)
def test_a_target_out_of_hand_costs_one_scenario_and_leaves_nothing(
    behaviour: str,
    timeout: float,
    words: str,
    verify: Verify,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(session, "MAX_RESTARTS", 2)
    begin = time.monotonic()
    report = verify(behaviour, timeout=timeout, memory_limit=2**28)
    assert time.monotonic() - begin < 90
    crashed = [row for row in report.rows if row.verdict is Verdict.CRASHED]
    assert crashed
    assert {row.alpha for row in crashed} == {2.4}
    assert all(words in row.detail for row in crashed), crashed
    assert row(report, "merged, Layer, alpha 16").verdict is Verdict.OK
    assert not _mentioning(str(tmp_path))
    assert not list(tmp_path.glob("lorascale-verify-*"))


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_what_left_the_process_group_is_ended_too(
    verify: Verify, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    report = verify("forks")
    assert report.exit_code == 0
    assert not _mentioning(str(tmp_path))


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="memory is watched in /proc")
@pytest.mark.parametrize(
    ("behaviour", "words"), [("import-exits", "exit status 0"), ("import-allocates", "0.5 GiB")]
)
def test_an_import_out_of_hand_is_an_error(behaviour: str, words: str, verify: Verify) -> None:
    report = verify(behaviour, memory_limit=2**29)
    assert report.exit_code == 2
    assert words in render_text(report)


def _command_lines() -> list[str]:
    """Command lines of all living processes."""
    lines = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            line = (folder / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if state != "Z":
            lines.append(line)
    return lines


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_a_child_ends_with_its_parent(tmp_path: Path) -> None:
    shutil.copy(HERE / "tiny_target.py", tmp_path)
    (tmp_path / "behaviour.txt").write_text("hangs")
    program = (
        "import pathlib; from lorascale_lint.verify.run import run_verify\n"
        "say = lambda line: print(line, flush=True)\n"
        f"run_verify(pathlib.Path({str(tmp_path)!r}), driver={DRIVER!r}, progress=say)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path)}
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert parent.stdout is not None
    while "alpha 2.4" not in parent.stdout.readline():
        pass
    assert _mentioning(str(tmp_path), "child")
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 20
    while _mentioning(str(tmp_path), "child"):
        assert time.monotonic() < deadline, "the child outlived its parent"
        time.sleep(0.05)


def _mentioning(*words: str) -> list[str]:
    return [line for line in _command_lines() if all(word in line for word in words)]


def test_a_target_that_always_dies_is_given_up(verify: Verify, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MAX_RESTARTS", 1)
    report = verify("always-exits")
    pipeline = [row for row in report.rows if row.group == "pipeline"]
    assert sum(row.verdict is Verdict.CRASHED for row in pipeline) == 2
    assert pipeline[-1].verdict is Verdict.UNSUPPORTED or "not run" in pipeline[-1].detail
    assert row(report, "merged, Layer, alpha 4").verdict is Verdict.OK
    assert report.exit_code == 1


def test_a_broken_target_is_an_error(verify: Verify) -> None:
    report = verify("import-error")
    assert report.exit_code == 2
    assert "this target is broken" in render_text(report)


def test_a_missing_package_is_named(verify: Verify) -> None:
    report = verify("missing-package")
    assert report.exit_code == 3
    assert "a_package_that_is_nowhere" in render_text(report)
    assert "pip install" in render_text(report)


def test_a_hanging_import_is_ended(verify: Verify, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "IMPORT_TIMEOUT", 1.0)
    report = verify("import-hang")
    assert report.exit_code == 2
    assert "no answer within 1 s" in render_text(report)


def test_an_unknown_tree_is_an_error(tmp_path: Path) -> None:
    report = run_verify(tmp_path)
    assert report.exit_code == 2
    assert "FastVideo" in render_text(report)


@pytest.mark.parametrize("driver", ["nonsense", "nowhere:ENTRY", f"{HERE / 'tiny_driver.py'}:prepare"])
def test_an_unknown_driver_is_an_error(tmp_path: Path, driver: str) -> None:
    assert run_verify(tmp_path, driver=driver).exit_code == 2


def test_missing_requirements_are_all_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tmp_path / "fastvideo"
    (tree / "layers" / "lora").mkdir(parents=True)
    for name in ("__init__.py", "layers/lora/linear.py"):
        (tree / name).touch()
    real = packages.importlib.util.find_spec
    gone = {"torch", "imageio", "scipy"}
    monkeypatch.setattr(
        packages.importlib.util, "find_spec", lambda name, *rest: None if name in gone else real(name, *rest)
    )
    report = run_verify(tmp_path)
    assert report.exit_code == 3
    assert all(name in render_text(report) for name in gone)


def test_a_folder_is_found_by_its_package_or_its_parent(tmp_path: Path) -> None:
    tree = tmp_path / "fastvideo"
    (tree / "layers" / "lora").mkdir(parents=True)
    for name in ("__init__.py", "layers/lora/linear.py"):
        (tree / name).touch()
    assert registry.choose(tmp_path)[1] == registry.choose(tree)[1] == tree.resolve()


def test_the_report_says_what_was_done(reported: Reported) -> None:
    report = reported("unscaled")
    text = render_text(report)
    for words in (
        "nothing at all",
        "imaginary",
        "part",
        "tiny.other",
        "seed 11",
        "NumPy",
        "executes",
        "DIFFERS",
    ):
        assert words in text
    data = json.loads(render_json(report))
    assert data["exit_code"] == 1
    assert data["seed"] == 11
    assert {"scenario", "expected", "observed", "relative_error", "verdict"} <= set(data["rows"][0])
    assert data["summary"]["differ"] == len(failing_rows(report))


def failing_rows(report: VerifyReport) -> list[Row]:
    return [row for row in report.rows if row.is_failure]


def test_the_seed_decides_the_inputs(verify: Verify, reported: Reported, tmp_path: Path) -> None:
    first = reported("unscaled")
    assert verify("unscaled").rows == first.rows
    assert run_verify(tmp_path / "target", driver=DRIVER, seed=12).rows != first.rows


def test_nothing_is_written_into_the_target(verify: Verify, tmp_path: Path) -> None:
    verify("right")
    assert sorted(path.name for path in (tmp_path / "target").rglob("*")) == [
        "behaviour.txt",
        "tiny_target.py",
    ]


def test_progress_is_told(verify: Verify) -> None:
    lines: list[str] = []
    verify("right", progress=lines.append)
    assert any("merged, Layer, alpha 4" in line for line in lines)


def test_the_parent_never_imports_torch() -> None:
    modules = "lorascale_lint.verify.run, lorascale_lint.verify.report"
    program = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode == 0
