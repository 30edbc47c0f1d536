"""Alpha is threaded from the file to the layer as a whole, or the repair is not offered."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from lorascale_lint.engine import lint
from lorascale_lint.findings import Finding
from lorascale_lint.fixing.apply import apply_fixes
from lorascale_lint.report.content import Report
from tests.projects import write_files

LAYER = """\
import torch
from torch import nn


class LoRALinear(nn.Module):
    def __init__(self, base, rank=None, alpha=None):
        super().__init__()
        self.base = base
        self.rank = rank
        self.alpha = alpha
        self.lora_A = None
        self.lora_B = None

    def forward(self, x):
        delta = nn.functional.linear(nn.functional.linear(x, self.lora_A), self.lora_B)
        if self.alpha != self.rank:
            delta = delta * (self.alpha / self.rank)
        return self.base(x) + delta

    def set_factors(self, lora_A, lora_B):
        self.lora_A = nn.Parameter(lora_A)
        self.lora_B = nn.Parameter(lora_B)
"""
LOADER = """\
from safetensors.torch import load_file

from layer import LoRALinear


class Loader:
    def __init__(self, modules):
        self.layers = {{name: LoRALinear(module) for name, module in modules.items()}}

    def load(self, path):
        tensors = {{}}
        {loop}
        for name, layer in self.layers.items():
            down, up = {down}, {up}
            layer.set_factors(down, up)
"""
LOOP = """for key, value in load_file(path).items():
            key = key.replace("diffusion_model.", "").removesuffix(".weight")
            tensors[key] = value"""
READ = {"loop": LOOP, "down": 'tensors[name + ".lora_A"]', "up": 'tensors[name + ".lora_B"]'}
THREADED = {"LS202", "LS203", "LS301"}


def project(folder: Path, **changes: str) -> list[Path]:
    return write_files(folder, {"layer.py": LAYER, "loader.py": LOADER.format(**READ | changes)})


def found(paths: list[Path]) -> dict[str, Finding]:
    return {finding.code: finding for finding in lint(paths, []).findings}


def repair(paths: list[Path]) -> Report:
    outcome = apply_fixes(
        lambda overlay: Report(lint(paths, [], overlay=overlay).findings), dict.fromkeys(paths), unsafe=False
    )
    for group in outcome.groups:
        for change in group:
            change.path.write_bytes(change.after)
    return outcome.report


LOOKUPS = [
    {},
    {"down": 'tensors.get(name + ".lora_A")', "up": 'tensors.get(name + ".lora_B")'},
    {"down": 'tensors.get(f"{name}.lora_A")', "up": 'tensors.get(f"{name}.lora_B")'},
    {"loop": "state_dict = None\n        " + LOOP},
    {
        "loop": LOOP.replace("load_file(path)", "weights").replace(
            "for key", "weights = load_file(path)\n        for key"
        )
    },
    {"loop": LOOP.replace(".remove", ".replace('base_model.model.', '').remove")},
]


@pytest.mark.parametrize("changes", LOOKUPS)
def test_a_loader_that_renames_in_one_loop_and_looks_up_in_another(
    changes: dict[str, str], tmp_path: Path
) -> None:
    paths = project(tmp_path, **changes)
    assert found(paths).keys() >= {"LS203", "LS301"}
    assert repair(paths).findings == ()
    text = paths[1].read_text()
    assert 'layer.set_factors(down, up, alpha=tensors.get(name + ".lora_alpha"))' in text
    assert text.count("add_lora_alphas(") == 2


@pytest.mark.parametrize("changes", LOOKUPS)
@pytest.mark.parametrize(
    ("extra", "metadata", "scale"),
    [
        ({"x.alpha": 8.0}, {}, 2.0),
        ({"diffusion_model.x.lora_alpha": 2.0}, {}, 0.5),
        ({"x.alpha_scale": 3.0}, {}, 3.0),
        ({}, {"lora_alpha": "16"}, 4.0),
        ({}, {}, 1.0),
    ],
    ids=["alpha", "lora_alpha", "alpha_scale", "metadata", "none"],
)
def test_the_repaired_program_applies_the_trained_scale(
    changes: dict[str, str],
    extra: dict[str, float],
    metadata: dict[str, str],
    scale: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch = pytest.importorskip("torch")
    save_file = pytest.importorskip("safetensors.torch").save_file
    paths = project(tmp_path, **changes)
    assert repair(paths).findings == ()
    head = "diffusion_model." if any(key.startswith("diffusion") for key in extra) else ""
    down, up = torch.randn(4, 6, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    tensors = {f"{head}x.lora_A.weight": down, f"{head}x.lora_B.weight": up}
    tensors |= {key: torch.tensor(value) for key, value in extra.items()}
    save_file(tensors, tmp_path / "adapter.safetensors", metadata=metadata)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("layer", "loader"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    loader = importlib.import_module("loader")
    base = torch.nn.Linear(6, 5, dtype=torch.float64)
    loaded = loader.Loader({"x": base})
    loaded.load(str(tmp_path / "adapter.safetensors"))
    x = torch.randn(3, 6, dtype=torch.float64)
    delta = loaded.layers["x"](x) - base(x)
    torch.testing.assert_close(delta, scale * (x @ down.T @ up.T))
    for name in ("layer", "loader"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.parametrize(
    "loop",
    [
        LOOP.replace("tensors[key]", 'tensors[key.replace("alpha", "")]'),
        LOOP.replace("tensors[key] = value", 'tensors[key.split(".lora")[0] + ".lora_A"] = value'),
        LOOP.replace("tensors[key] = value", 'if ".lora_" in key:\n                tensors[key] = value'),
        LOOP.replace("tensors[key] = value", "tensors[mapped(key)] = value"),
        LOOP.replace("load_file(path).items()", "filtered(load_file(path)).items()"),
        LOOP + "\n        tensors.pop('x.alpha', None)",
    ],
)
def test_a_loader_that_may_lose_alpha_on_the_way_is_not_half_repaired(loop: str, tmp_path: Path) -> None:
    paths = project(tmp_path, loop=loop)
    before = found(paths)
    assert "LS203" in before
    assert {before[code].fix for code in THREADED & before.keys()} == {None}
    repair(paths)
    assert "alpha=" not in paths[1].read_text()
    assert "def set_factors(self, lora_A, lora_B):" in paths[0].read_text()
