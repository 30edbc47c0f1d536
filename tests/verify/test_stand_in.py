"""A device on the CPU that minds devices as a graphics card does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lorascale_lint.verify.devices import choose_device
from lorascale_lint.verify.registry import DriverEntry
from lorascale_lint.verify.report import Problem

pytest.importorskip("torch")

HEAD = """
import torch
from lorascale_lint.verify import stand_in
from lorascale_lint.verify.arrays import as_float64, as_offered, framework, use_device
use_device("standin:0")
stand_in.register()
place = torch.device("standin:0")
class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.base = torch.nn.Linear(3, 2)
        self.lora_A, self.lora_B = torch.ones(1, 3, device=LEFT), torch.ones(2, 1, device=place)
    def merge(self):
        with torch.no_grad():
            self.base.weight.data += 0.5 * (self.lora_B @ self.lora_A)
layer = Layer().to(place)
"""


def run(text: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=False, timeout=200
    )
    return done.stdout + done.stderr.strip().rpartition("\n")[2]


def test_a_layer_computes_there_as_on_the_cpu() -> None:
    said = run(
        HEAD.replace("LEFT", "place")
        + """
before = as_float64(layer.base.weight)
layer.merge()
assert abs(as_float64(layer.base.weight) - before - 0.5).max() < 1e-6
x = as_offered(before, "bfloat16")
assert (x.device, x.dtype) == (place, torch.bfloat16)
assert layer.base(torch.ones(4, 3, device=place)).device == place
for made in (torch.eye(3, device=place), torch.arange(5, device=place), torch.tensor([1.0, 2], device=place)):
    assert made.device == place and made.sum().item() in (3, 10)
held = torch.zeros(2, device=place)
held.data = torch.ones(2, device=place)
assert held.cpu().tolist() == [1, 1] and layer.to("cpu").base.weight.device.type == "cpu"
print(framework())
"""
    )
    assert said.strip().endswith("on standin:0, a stand-in that computes on the CPU")


def test_what_is_left_on_the_wrong_device_is_found() -> None:
    said = run(HEAD.replace("LEFT", "'cpu'") + "layer.merge()")
    assert said.startswith("RuntimeError: Expected all tensors to be on the same device")
    assert "standin:0 and cpu! (aten::mm)" in said


def test_only_drivers_that_know_devices_get_it() -> None:
    entry = DriverEntry("some", "some:prepare", lambda path: Path(path), devices=("cpu", "cuda"))
    assert choose_device("standin", entry) == "standin:0"
    problem = choose_device("standin", DriverEntry("some", "some:prepare", lambda path: Path(path)))
    assert isinstance(problem, Problem)
    assert problem.exit_code == 3
