"""LS502: what may be written into a PEFT layer's table of scalings."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorascale_lint.engine import lint

PEFT = "from peft.tuners import lora\nfrom peft.tuners.lora import LoraLayer\n\n\n"


def findings(folder: Path, source: str) -> list[str]:
    """Confidences of LS502 findings in one file."""
    path = folder / "switch.py"
    path.write_text(PEFT + source)
    return [finding.confidence for finding in lint([path], [], codes=["LS502"]).findings]


@pytest.mark.parametrize(
    ("source", "confidence"),
    [
        (
            "def load(layer, name, strength):\n    if isinstance(layer, LoraLayer):\n"
            "        layer.lora_A[name].weight.data = 1\n        layer.scaling[name] = strength\n",
            "high",
        ),
        (
            "def demo(pipe, name, lora_weight):\n    for m in pipe.transformer.modules():\n"
            "        if isinstance(m, lora.LoraLayer):\n            if name in m.scaling:\n"
            "                m.scaling[name] = lora_weight\n",
            "high",
        ),
        (
            "def switch_lora(pipe, args):\n    for m in pipe.transformer.modules():\n"
            "        if hasattr(m, 'scaling'):\n            m.scaling['default'] = float(args.multiplier)\n",
            "high",
        ),
        (
            "def only(layers, wanted):\n    for m in layers:\n        for name in m.active_adapters:\n"
            "            if name in m.scaling:\n"
            "                m.scaling[name] = 1 if name == wanted else 0\n",
            "medium",
        ),
        (
            "def only(layers, wanted):\n"
            "    former = [{name: m.scaling[name] for name in m.active_adapters} for m in layers]\n"
            "    for m in layers:\n        for name in m.active_adapters:\n"
            "            if name in m.scaling:\n"
            "                m.scaling[name] = 1 if name == wanted else 0\n"
            "    yield\n"
            "    for m, values in zip(layers, former):\n        m.scaling.update(values)\n",
            "high",
        ),
        (
            "def run_lora(layers, x):\n    former = [dict(m.scaling) for m in layers]\n    for m in layers:\n"
            "        m.scaling['default'] = 1.0\n    y = x()\n"
            "    for m, values in zip(layers, former):\n        m.scaling.update(values)\n    return y\n",
            "high",
        ),
        (
            "def set_scale(model, scale):\n    for m in model.modules():\n"
            "        if isinstance(m, LoraLayer):\n            m.scaling['default'] = scale\n",
            "medium",
        ),
    ],
)
def test_fires(source: str, confidence: str, tmp_path: Path) -> None:
    assert findings(tmp_path, source) == [confidence]


@pytest.mark.parametrize(
    "source",
    [
        # 0 switches off
        "def off(model, name):\n    for m in model.modules():\n        if isinstance(m, LoraLayer):\n"
        "            m.scaling[name] = 0\n",
        # alpha / rank is in it
        "def on(m, name, strength):\n    if isinstance(m, LoraLayer):\n"
        "        m.scaling[name] = strength * m.lora_alpha[name] / m.r[name]\n",
        # what is there is scaled, or folded into the factor
        "def on(m, name, strength):\n    if isinstance(m, LoraLayer):\n"
        "        m.scaling[name] = m.scaling[name] * strength\n",
        "def fold(m, name):\n    if isinstance(m, LoraLayer):\n"
        "        m.lora_B[name].weight.data = m.lora_B[name].weight.data * m.scaling[name]\n"
        "        m.scaling[name] = 1.0\n",
        # a saved scaling is put back
        "def back(layers, saved, name):\n    for layer, scaling in zip(layers, saved):\n"
        "        if isinstance(layer, LoraLayer):\n            layer.scaling[name] = scaling\n",
        # a caller gives the whole product
        "def put(m, name, strength):\n    if isinstance(m, LoraLayer):\n"
        "        m.scaling[name] = strength\n\n\n"
        "def use(m, alpha, r):\n    put(m, 'a', alpha / r)\n",
        # a layer of the program's own
        "class Layer:\n    def on(self, name, strength):\n        self.scaling[name] = strength\n",
        "class Block:\n    def __init__(self):\n        self.scaling = {}\n\n\n"
        "def on(block, name, strength):\n    block.scaling[name] = strength\n",
    ],
)
def test_silent(source: str, tmp_path: Path) -> None:
    assert findings(tmp_path, source) == []


STAGE = """
from abc import ABC, abstractmethod


class Stage(ABC):
    def __init__(self, device):
        self.device = device
        self.denoiser = None

    @abstractmethod
    def prepare(self):
        pass

    def to_cpu(self, adapter):
        for part in self.denoiser.modules():
            if hasattr(part, "lora_A"):
                part.lora_A[adapter] = part.lora_A[adapter].cpu()
                part.{up}[adapter] = part.{up}[adapter].cpu()

    def set_adapter(self, adapter, lora_strength):
        if self.denoiser is None:
            return
        for part in self.denoiser.modules():
            if hasattr(part, "scaling") and isinstance(part.scaling[adapter], float):
                part.scaling[adapter] = {value}
"""
"""What the subclasses of an abstract class put into its field, in whose file nobody imports PEFT."""


@pytest.mark.parametrize(
    ("up", "value", "expected"),
    [
        ("lora_B", "lora_strength", ["medium"]),
        ("lora_B", "lora_strength * self.trained[adapter]", []),
        ("lora_B", "lora_strength * part.lora_alpha[adapter] / part.r[adapter]", []),
        ("codebook", "lora_strength", []),
    ],
)
def test_layers_known_by_their_tables(up: str, value: str, expected: list[str], tmp_path: Path) -> None:
    path = tmp_path / "stage.py"
    path.write_text(STAGE.format(up=up, value=value))
    found = lint([path], [], codes=["LS502"]).findings
    assert [finding.confidence for finding in found] == expected
