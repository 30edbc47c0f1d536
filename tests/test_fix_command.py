"""``--fix`` on real rules, run as people run it: several at once, killed, on files that can't be written."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lorascale_lint.rule import all_rules
from tests.test_rule_examples import example

RULES = [rule for rule in all_rules() if rule.code in ("LS106", "LS110", "LS111", "LS112", "LS207")]
COMMAND = [sys.executable, "-m", "lorascale_lint", "--fix", "--unsafe-fixes", "--no-cache", "."]


def tree(folder: Path) -> dict[Path, tuple[bytes, bytes]]:
    """Files with one finding each, and what they are before and after."""
    (folder / "pyproject.toml").touch()
    pairs: dict[Path, tuple[bytes, bytes]] = {}
    for number in range(3):
        for rule in RULES:
            path = folder / f"lora_{rule.code}_{number}.py"
            before, after = example(rule, "Bad").encode(), example(rule, "Good").encode()
            path.write_bytes(before)
            pairs[path] = before, after
    return pairs


def start(folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.Popen(
        COMMAND, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )


def test_two_runs_at_once_do_no_harm(tmp_path: Path) -> None:
    pairs = tree(tmp_path)
    runs = [start(tmp_path), start(tmp_path)]
    for run in runs:
        out, error = run.communicate()
        assert b"Traceback" not in out + error
        assert run.returncode in (0, 2)  # 2 where the other run was first at a file
    assert all(path.read_bytes() == after for path, (_, after) in pairs.items())
    assert sorted(tmp_path.iterdir()) == sorted([*pairs, tmp_path / "pyproject.toml"])


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_killed_run_leaves_whole_files(tmp_path: Path) -> None:
    pairs = tree(tmp_path)
    for delay in (0.4, 0.7, 1.0, 1.4):
        run = start(tmp_path)
        time.sleep(delay)
        run.send_signal(signal.SIGKILL)
        run.communicate()
        assert all(path.read_bytes() in contents for path, contents in pairs.items())
    assert start(tmp_path).wait() == 0
    assert all(path.read_bytes() == after for path, (_, after) in pairs.items())


@pytest.mark.skipif(os.name == "nt", reason="POSIX file modes")
def test_a_read_only_file_is_named_and_the_others_are_fixed(tmp_path: Path) -> None:
    pairs = tree(tmp_path)
    kept = next(iter(pairs))
    kept.chmod(0o444)
    run = start(tmp_path)
    out, error = run.communicate()
    assert run.returncode == 1, "its finding remains"
    assert (out + error).count(f"{kept.name} is not fixed: it is read-only".encode()) == 1
    assert kept.read_bytes() == pairs[kept][0]
    assert stat.S_IMODE(kept.stat().st_mode) == 0o444
    assert all(path.read_bytes() == after for path, (_, after) in pairs.items() if path != kept)
