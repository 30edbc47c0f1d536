"""The pytest plug-in: what a failing test shows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TEST = """\
def merge(weight, a, b, alpha):
    return weight + b @ a


def test_merge(lora_scale_check):
    lora_scale_check(merge, arrays="numpy")


def test_wrong_use(lora_scale_check):
    lora_scale_check(merge, arrays="numpy", rank=1, alphas=[3.0])


def broken(weight, a, b, alpha):
    raise RuntimeError("their own error")


def test_broken(lora_scale_check):
    lora_scale_check(broken, arrays="numpy")
"""


def run(folder: Path, *args: str) -> str:
    (folder / "test_merge.py").write_text(TEST)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--lora-scale-seed", "7", *args]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


def test_a_failure_shows_the_line_of_the_test_and_the_measurements(tmp_path):
    out = run(tmp_path, "test_merge.py::test_merge")
    assert '>       lora_scale_check(merge, arrays="numpy")' in out
    assert "test_merge.py:6: EffectiveScaleError" in out
    assert "alpha 4, rank 8, float32: expected 0.5, observed 1: alpha-ignored" in out
    assert "repeat with seed=7" in out
    assert "testing.py" not in out
    assert "lora_scale_check = <checks the scale of a delta>\n" in out
    assert "Captured" not in out


def test_a_wrong_use_shows_where_it_was_refused(tmp_path):
    assert "testing.py" in run(tmp_path, "test_merge.py::test_wrong_use")


def test_an_error_of_the_code_shows_its_line_and_the_seed(tmp_path):
    out = run(tmp_path, "test_merge.py::test_broken")
    assert "RuntimeError: their own error" in out
    assert "repeat with seed=7" in out
