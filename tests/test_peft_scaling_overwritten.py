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
