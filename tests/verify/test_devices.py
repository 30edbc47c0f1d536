"""`--device` and `--dtype`."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lorascale_lint.verify import devices
from lorascale_lint.verify.arrays import device_of_rank, framework, rounded, use_device
from lorascale_lint.verify.registry import FASTVIDEO, LONGCAT, PEFT
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


@pytest.mark.parametrize(
    ("wanted", "count", "chosen"),
    [
        ("cuda", 2, "cuda:0"),
        ("cuda:1", 3, "cuda:1"),
        ("auto", 1, "cpu"),
        ("cuda:1", 2, "2 processes want a CUDA device each: torch can use 2 here."),
    ],
)
def test_each_rank_has_a_device(
    wanted: str, count: int, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "cuda_devices", lambda: count)
    found = devices.choose_device(wanted, FASTVIDEO, ranks=2)
    assert (found.message if isinstance(found, Problem) else found) == chosen
    assert [device_of_rank("cuda:1", rank) for rank in (0, 1)] == ["cuda:1", "cuda:2"]
    assert device_of_rank("cpu", 1) == "cpu"


def test_a_driver_for_the_cpu_says_so() -> None:
    found = devices.choose_device("cuda", LONGCAT)
    assert isinstance(found, Problem)
    assert (found.exit_code, found.message) == (3, "The driver longcat runs on the CPU only.")
    assert devices.choose_device("auto", LONGCAT) == "cpu"


@pytest.fixture
def second_device() -> Iterator[None]:
    """As if the second of two CUDA devices were in use; nothing may be computed."""
    use_device("cuda:1")
    yield
    use_device("cpu")


@pytest.mark.usefixtures("second_device")
def test_the_report_names_device_and_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = SimpleNamespace(
        __version__="9.9",
        version=SimpleNamespace(cuda="12.4"),
        cuda=SimpleNamespace(get_device_name=str.upper),
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert framework() == "torch 9.9 (CUDA 12.4, driver unknown) on cuda:1, CUDA:1"
    asked = tmp_path / "nvidia-smi"
    asked.write_text("#!/bin/sh\necho 550.54.15\necho 550.54.15\n")
    asked.chmod(0o755)
    assert framework() == "torch 9.9 (CUDA 12.4, driver 550.54.15) on cuda:1, CUDA:1"


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs torch (extra verify)")
@pytest.mark.parametrize(
    ("device", "backend", "local_rank", "changed"),
    [
        ("cpu", "gloo", 0, ("_force_device", "_unpin_offload", "_separate_backups")),
        ("standin:0", "gloo", 0, ("_force_device", "_unpin_offload")),
        ("cuda:1", "nccl", 1, ()),
    ],
)
def test_fastvideo_is_changed_for_the_cpu_only(
    device: str, backend: str, local_rank: int, changed: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from lorascale_lint.verify.drivers.fastvideo_import import Importer

    started: list[tuple[object, ...]] = []

    def start(*, backend: str, local_rank: int, **_: object) -> None:
        started.append((backend, local_rank))

    state = SimpleNamespace(
        init_distributed_environment=start, initialize_model_parallel=lambda *_: None, LoRAPipeline=None
    )
    state.WanVideoArchConfig = lambda: None
    changes = ("_force_device", "_unpin_offload", "_separate_backups")
    for name in (*changes, "_poison_memory", "_look_before_stubbing"):
        monkeypatch.setattr(Importer, name, lambda _, name=name: started.append((name,)))
    monkeypatch.setattr(Importer, "_import", lambda *_: state)
    monkeypatch.setattr(torch.cuda, "set_device", lambda where: started.append((str(where),)))
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda name, **_: started.append((name,)))
    monkeypatch.setenv("LOCAL_RANK", "0")
    use_device(device)
    try:
        Importer(Path("nowhere"), "full").run()
    finally:
        use_device("cpu")
    assert {(name,) for name in changes} & set(started) == {(name,) for name in changed}
    assert ((device,) in started) == (backend == "nccl")
    assert started[-2:] == [(backend,), (backend, local_rank)]


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
@pytest.mark.usefixtures("warm")
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
