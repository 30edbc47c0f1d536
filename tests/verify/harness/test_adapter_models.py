"""Classes that put adapters into a whole model: by patterns, and new ones made of others."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorascale_lint.verify.harness.properties import Property
from lorascale_lint.verify.run import run_verify
from lorascale_lint.verify.verdicts import Row, Verdict

pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("warm_module")

LAYERS = """
import math
from dataclasses import dataclass, field, replace

import torch
from torch import nn


@dataclass
class LoraSettings:
    r: int = 8
    lora_alpha: int = 8
    target_modules: list = None
    use_rslora: bool = False
    rank_pattern: dict = field(default_factory=dict)
    alpha_pattern: dict = field(default_factory=dict)


class LoraLayer(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer, self.scaling, self.active = base_layer, {}, ""
        self.lora_A, self.lora_B = nn.ModuleDict(), nn.ModuleDict()

    def update_layer(self, name, r, lora_alpha, use_rslora):
        self.lora_A[name] = nn.Linear(self.base_layer.in_features, r, bias=False)
        self.lora_B[name] = nn.Linear(r, self.base_layer.out_features, bias=False)
        self.scaling[name] = lora_alpha / (math.sqrt(r) if use_rslora else r)
        self.active = name

    def forward(self, x):
        delta = self.lora_B[self.active](self.lora_A[self.active](x))
        return self.base_layer(x) + delta * self.scaling[self.active]
"""
MODEL = """
def matching(patterns, name, default):
    return next((value for key, value in patterns.items() if name.endswith(key)), default)


class AdapterModel(nn.Module):
    def __init__(self, model, peft_config, adapter_name):
        super().__init__()
        self.model, self.peft_config = model, peft_config
        self.inject(adapter_name)

    def inject(self, adapter_name):
        config = self.peft_config[adapter_name]
        for name, found in list(self.model.named_modules()):
            if not name.endswith(tuple(config.target_modules)):
                continue
            if not isinstance(found, LoraLayer):
                owner, _, last = name.rpartition(".")
                parent, found = self.model.get_submodule(owner), LoraLayer(found)
                setattr(parent, last, found)
            r = matching(config.rank_pattern, name, config.r)
            alpha = matching(config.alpha_pattern, name, config.lora_alpha)
            found.update_layer(adapter_name, r, alpha, config.use_rslora)

    def set_adapter(self, adapter_name):
        for found in self.model.modules():
            if isinstance(found, LoraLayer):
                found.active = adapter_name

    def add_weighted_adapter(self, adapters, weights, adapter_name):
        first = self.peft_config[adapters[0]]
        self.peft_config[adapter_name] = replace(first, lora_alpha=first.r, use_rslora=False)
        self.inject(adapter_name)
        for found in self.model.modules():
            if isinstance(found, LoraLayer):
                for name, weight in zip(adapters, weights):
                    found.lora_A[adapter_name].weight.data = found.lora_A[name].weight.data.clone()
                    up = found.lora_B[name].weight.data * found.scaling[name] * weight
                    found.lora_B[adapter_name].weight.data = up

    def merge(self):
        for found in self.model.modules():
            if isinstance(found, LoraLayer):
                up, down = found.lora_B[found.active].weight, found.lora_A[found.active].weight
                found.base_layer.weight.data += up @ down * found.scaling[found.active]
"""


def answers(source: str, folder: Path) -> dict[str, Row]:
    folder.mkdir()
    path = folder / "adapters.py"
    path.write_text(LAYERS + MODEL.replace(*source.split(" -> ")) if source else LAYERS + MODEL)
    row = (
        path.read_text()
        .splitlines()
        .index("    def add_weighted_adapter(self, adapters, weights, adapter_name):")
    )
    report = run_verify(folder, driver="harness", only=f"{path}:{row + 1}", seed=3)
    return {item.scenario.rpartition(": ")[2]: item for item in report.rows}


def test_a_right_one_is_right(tmp_path: Path) -> None:
    told = answers("", tmp_path / "right")
    for question in (Property.SCALE, Property.PATTERNS, Property.WEIGHTED):
        assert told[question].verdict is Verdict.OK, question


@pytest.mark.parametrize(
    ("change", "question", "expected", "observed"),
    [
        (
            "config.alpha_pattern, name -> {}, name",
            Property.PATTERNS,
            0.75,
            1.0,
        ),
        ("found.scaling[name] * weight -> found.scaling[name] * weight**2", Property.WEIGHTED, 0.25, 0.125),
        ("first.r, use_rslora=False -> first.r", Property.WEIGHTED, 0.5**0.5, 2.0),
    ],
)
def test_wrong_ones_are_told_apart(
    change: str, question: Property, expected: float, observed: float, tmp_path: Path
) -> None:
    found = answers(change, tmp_path / "wrong")[question]
    assert found.verdict is Verdict.OBSERVED
    assert (found.expected, found.observed) == (pytest.approx(expected), pytest.approx(observed))


def test_a_layer_with_settings_is_no_such_class(tmp_path: Path) -> None:
    source = """
from torch import nn


class Strange(nn.Module):
    def __init__(self, base_layer, adapter_name, config):
        super().__init__()
        self.base_layer, self.scaling = base_layer, config.lora_alpha / config.r
        self.lora_A, self.lora_B = nn.Linear(3, config.r), nn.Linear(config.r, 5)

    def forward(self, x):
        return self.base_layer(x) + self.lora_B(self.lora_A(x)) * self.scaling
"""
    (tmp_path / "strange.py").write_text(source)
    (found,) = run_verify(tmp_path, driver="harness", seed=3).rows
    assert found.verdict is Verdict.NOT_RUN
    assert "no factor's of rank" in found.detail
