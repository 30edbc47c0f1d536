"""`--device` and `--dtype`."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from lorascale_lint.verify import devices
from lorascale_lint.verify.arrays import rounded
from lorascale_lint.verify.registry import FASTVIDEO, PEFT
from lorascale_lint.verify.report import Problem
from lorascale_lint.verify.run import run_verify
from tests.verify.test_own_drivers import RIGHT, project, row


@pytest.mark.parametrize(
    ("wanted", "count", "chosen"),
    [
        ("cpu", 1, "cpu"),
        ("auto", 0, "cpu"),
        ("auto", 2, "cuda:0"),
        ("cuda", 1, "cuda:0"),
        ("cuda:1", 2, "cuda:1"),
        ("cuda", 0, "There is no CUDA device that torch can use here, so nothing was run."),
        ("cuda:2", 2, "There is no CUDA device 2: torch can use 2 here, counted from 0."),
    ],
)
def test_devices(wanted: str, count: int, chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "cuda_devices", lambda: count)
    found = devices.choose_device(wanted, PEFT)
    assert (found.message if isinstance(found, Problem) else found) == chosen


def test_a_driver_for_the_cpu_says_so() -> None:
    found = devices.choose_device("cuda", FASTVIDEO)
    assert isinstance(found, Problem)
    assert (found.exit_code, found.message) == (3, "The driver fastvideo runs on the CPU only.")
    assert devices.choose_device("auto", FASTVIDEO) == "cpu"


def test_no_device_is_no_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    folder = project(tmp_path, RIGHT)
    report = run_verify(folder, driver=f"{folder / 'verify_driver.py'}:merge", device="cuda")
    assert report.exit_code == 3
    assert report.rows == ()


def test_numbers_are_rounded_as_the_type_rounds() -> None:
    values = np.random.default_rng(1).standard_normal(1000)
    assert np.array_equal(rounded(values, "float32"), values.astype(np.float32))
    assert np.array_equal(rounded(values, "float16"), values.astype(np.float16))
    halves = rounded(values, "bfloat16")
    assert np.max(np.abs(halves / values - 1)) <= 2**-8
    assert np.array_equal(rounded(halves, "bfloat16"), halves)
    # Ties go to the even neighbour.
    assert rounded(np.array([1 + 2**-8, 1 + 3 * 2**-8]), "bfloat16").tolist() == [1.0, 1 + 2**-6]


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs torch (extra verify)")
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_right_code_is_right_in_half_precision(tmp_path: Path, dtype: str) -> None:
    torch_driver = """
import torch
from adapters import merge_adapter


def merge(weight, a, b, alpha=None):
    return merge_adapter(weight.float(), a.float(), b.float(), alpha).to(weight.dtype)
"""
    folder = project(tmp_path, RIGHT, torch_driver)
    report = run_verify(folder, driver=f"{folder / 'verify_driver.py'}:merge", dtype=dtype)
    assert report.exit_code == 0
    assert row(report, "merged, layer, alpha 2.4").dtype == dtype
    assert "torch" in report.target.framework
