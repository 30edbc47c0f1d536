"""`scripts/gpu-check`: what it looks at, how, and what it says when a device does something else."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

Examined = Callable[[str, str], tuple[int, list[tuple[str, ...]], Path]]
"""Runs the script on one tree for a device and the verdict there: exit code, runs, page."""
SCRIPT = Path(__file__).parents[2] / "scripts" / "gpu-check"
UNSCALED = """
class LoRALinear:
    def __init__(self, base, lora_A, lora_B, lora_alpha, rank):
        self.base, self.lora_A, self.lora_B = base, lora_A, lora_B
        self.scaling = lora_alpha / rank

    def merge(self):
        self.base.weight.data += self.lora_B @ self.lora_A
"""


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module; the import path is as before afterwards."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    loader = SourceFileLoader("gpu_check", str(SCRIPT))
    spec = importlib.util.spec_from_loader("gpu_check", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """Wheels with the names of FastVideo's, of one file."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for version in ("0.1.6", "0.2.1"):
        with zipfile.ZipFile(folder / f"fastvideo-{version}-py3-none-any.whl", "w") as wheel:
            wheel.writestr("fastvideo/layer.py", UNSCALED)
    return folder


@pytest.fixture
def examined(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Examined:
    """A function that runs the script on one tree with one scenario, which is right on the CPU."""

    def run(device: str, there: str) -> tuple[int, list[tuple[str, ...]], Path]:
        runs: list[tuple[str, ...]] = []

        def lint(*arguments: str) -> subprocess.CompletedProcess[str]:
            runs.append(arguments[2:])
            verdict = there if "--device" in arguments else "ok"
            row = {
                "scenario": "merged",
                "label": "",
                "adapter": "",
                "verdict": verdict,
                "detail": "0 for 0.5",
            }
            said = {
                "target": {"framework": f"torch on {device}"},
                "summary": {"ok": 1, "differ": 0, "unsupported": 0},
                "problem": None,
                "rows": [row],
            }
            return subprocess.CompletedProcess(arguments, 0, json.dumps(said), "")

        monkeypatch.setattr(script, "lint", lint)
        monkeypatch.setattr(script, "subjects", lambda wheels, folder: [("PEFT", folder)])
        monkeypatch.setattr(script, "memory_floor", lambda device, folder: "8 layers: 1.0 s")
        files = ["--json", str(tmp_path / "json"), "--page", str(tmp_path / "page")]
        monkeypatch.setattr(sys, "argv", ["gpu-check", "--wheels", str(tmp_path), "--device", device, *files])
        return script.main(), runs, tmp_path / "page"

    return run


def test_everything_is_looked_at(script: ModuleType, wheels: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    trees = dict(script.subjects(wheels, tmp_path))
    assert trees.pop("PEFT") == Path(peft.__file__).parent
    # The text that is changed stands in the PEFT of the environment, too.
    planted = (trees.pop("PEFT, scale doubled") / "tuners" / "lora" / "layer.py").read_text()
    right, wrong = script.PLANTED
    assert (right in planted, wrong in planted) == (False, True)
    texts = {name: (tree / "layer.py").read_text() for name, tree in trees.items()}
    repaired = {name for name, text in texts.items() if "@ self.lora_A * self.scaling" in text}
    assert repaired == {"FastVideo 0.1.6, repaired", "FastVideo 0.2.1, repaired"}
    assert texts.keys() - repaired == {"FastVideo 0.1.6, as published", "FastVideo 0.2.1, as published"}


def test_a_card_is_asked_in_all_ways_each_beside_the_cpu(
    examined: Examined,
) -> None:
    code, runs, page = examined("cuda", "ok")
    assert code == 0
    given = [tuple(option for option in run if option not in ("--seed", "1")) for run in runs]
    json_too = ("--output-format", "json")
    assert given == [
        (*json_too, "--dtype", dtype, *way)
        for dtype in ("fp32", "bf16", "fp16")
        for way in ((), ("--device", "cuda"), ("--compiled", "--device", "cuda"))
    ]
    text = page.read_text()
    assert "Run on a graphics card." in text
    assert "torch on cuda." in text
    assert "| PEFT | --dtype bf16 --compiled | 1 ok, 0 differ, 0 unsupported | 0 |" in text
    assert "8 layers: 1.0 s" in text


def test_another_verdict_than_on_the_cpu_is_told(
    examined: Examined,
) -> None:
    code, runs, page = examined("standin", "not-applied")
    assert (code, len(runs)) == (1, 2)
    text = page.read_text()
    assert "No GPU was at hand: none of this was run on one." in text
    assert "- PEFT, --dtype fp32: merged: not-applied, on the CPU ok; 0 for 0.5" in text
    record = json.loads((page.parent / "json").read_text())
    assert [run["exit_code"] for run in record["runs"]] == [0]
