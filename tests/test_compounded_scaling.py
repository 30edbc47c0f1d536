"""LS503: which ways a stored scaling comes back as a strength."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorascale_lint.engine import lint


def codes(folder: Path, source: str) -> list[str]:
    """Codes of LS503 in one file."""
    path = folder / "lora_layer.py"
    path.write_text(source)
    return [finding.code for finding in lint([path], [], codes=["LS503"]).findings]


METHOD = """
class LoraLinear:
    def set_weights(self, name, names=(), weights=None):
        {body}
"""

FUNCTION = """
from peft.tuners.lora import LoraLayer


def lora_off(model, name):
    layers = [m for m in model.modules() if isinstance(m, LoraLayer)]
    {body}
"""

CONTEXT = """
class without_lora:
    def __init__(self, layers):
        self.layers = layers

    def __enter__(self):
        self.former = [layer.scaling["default"] for layer in self.layers]
        for layer in self.layers:
            layer.scaling["default"] = 0.0

    def __exit__(self, *error):
        for layer, scale in zip(self.layers, self.former):
            {restore}
"""


@pytest.mark.parametrize(
    "source",
    [
        METHOD.format(body="self.scaling[name] = self.scaling[name] * self.lora_alpha[name] / self.r[name]"),
        METHOD.format(
            body="weight = self.scaling[name] if weights is None else weights\n"
            "        self.scaling[name] = weight * (self.lora_alpha[name] / self.r[name])"
        ),
        METHOD.format(
            body="former = {n: self.scaling[n] for n in names}\n        for n in names:\n"
            "            self.scaling[n] = float(self.lora_alpha[n]) / self.r[n] * former[n]"
        ),
        FUNCTION.format(body="for m in layers:\n        m.set_scale(name, m.scaling[name])"),
        FUNCTION.format(
            body="former = [m.scaling[name] for m in layers]\n    for m, scale in zip(layers, former):\n"
            "        m.set_scale(name, scale)"
        ),
        CONTEXT.format(restore='layer.set_scale("default", scale)'),
    ],
)
def test_scaled_again(source: str, tmp_path: Path) -> None:
    assert codes(tmp_path, source) == ["LS503"]


@pytest.mark.parametrize(
    "source",
    [
        METHOD.format(body="self.scaling[name] = weights * self.lora_alpha[name] / self.r[name]"),
        METHOD.format(
            body="self.scaling[name] = self.scaling[name] * self.lora_alpha[name] / self.old_alpha"
        ),
        METHOD.format(body="self.scaling[name] = self.scaling[name] * self.r[name] / self.lora_alpha[name]"),
        METHOD.format(body="self.scaling[name] = self.scaling[name] * weights"),
        FUNCTION.format(
            body="for m in layers:\n        trained = m.lora_alpha[name] / m.r[name]\n"
            "        m.set_scale(name, m.scaling[name] / trained)"
        ),
        CONTEXT.format(restore='layer.scaling["default"] = scale'),
    ],
)
def test_silent(source: str, tmp_path: Path) -> None:
    assert codes(tmp_path, source) == []


WRAPPED = """
def set_adapters(layer, names, weights=None):
    if isinstance(layer, PatchedLoraLinear):
        layer = layer.inner_layer
    if weights is None:
        weights = [{start} for name in names]
    for name, weight in zip(names, weights):
        layer.scaling[name] = weight * layer.lora_alpha[name] / layer.r[name]
"""


@pytest.mark.parametrize(("start", "expected"), [("layer.scaling[name]", ["LS503"]), ("1.0", [])])
def test_a_table_of_what_a_wrapper_holds(start: str, expected: list[str], tmp_path: Path) -> None:
    assert codes(tmp_path, WRAPPED.format(start=start)) == expected
