"""LS222: setters that multiply what is stored, and those that replace it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

LAYER = """\
class LoraModule:
    def __init__(self, lora_down, lora_up, alpha, rank):
        self.lora_down = lora_down
        self.lora_up = lora_up
        self.trained = alpha / rank
        self.scaling = alpha / rank

    def forward(self, x):
        return self.lora_up(self.lora_down(x)) * self.scaling

"""
WRONG = {
    "in place": "    def set_strength(self, strength):\n        self.scaling *= strength\n",
    "written out": "    def set_scale(self, value):\n        self.scaling = value * self.scaling\n",
}
RIGHT = {
    "from the trained scale": "    def set_strength(self, strength):\n"
    "        self.scaling = self.trained * strength\n",
    "put back first": "    def set_strength(self, strength):\n"
    "        self.scaling = self.trained\n        self.scaling *= strength\n",
    "says that it scales": "    def scale_layer(self, scale):\n        self.scaling *= scale\n",
    "divided again": "    def set_strength(self, strength):\n"
    "        self.scaling = self.scaling / strength\n",
}


@pytest.mark.parametrize("name", WRONG)
def test_setting_twice_multiplies_twice(name: str, tmp_path: Path) -> None:
    (found,) = lint_files(tmp_path, {"lora_layer.py": LAYER + WRONG[name]})
    assert (found.code, found.span.start.row) == ("LS222", 12)


@pytest.mark.parametrize("name", RIGHT)
def test_silent(name: str, tmp_path: Path) -> None:
    assert not lint_files(tmp_path, {"lora_layer.py": LAYER + RIGHT[name]}, codes=["LS222"])


BUFFER = """\
import torch


class Lora(torch.nn.Module):
    def __init__(self, base, r, alpha):
        super().__init__()
        self.base, self.trained = base, alpha / r
        self.lora_a = torch.nn.Linear(base.in_features, r, bias=False)
        self.lora_b = torch.nn.Linear(r, base.out_features, bias=False)
        self.register_buffer("lora_scale", torch.tensor(alpha / r))

    def forward(self, x):
        return self.base(x) + self.lora_b(self.lora_a(x)) * self.lora_scale


def set_strength(model, strength):
    for m in model.modules():
        if isinstance(m, Lora):
            {body}
"""


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ("m.lora_scale.mul_(strength)", 1),
        ("m.lora_scale *= strength", 1),
        ("m.lora_scale.copy_(m.lora_scale * strength)", 1),
        ("m.lora_scale.fill_(m.trained * strength)", 0),
        ("m.lora_scale.fill_(m.trained)\n            m.lora_scale.mul_(strength)", 0),
    ],
)
def test_a_buffer_that_is_changed_in_place(body: str, count: int, tmp_path: Path) -> None:
    source = BUFFER.format(body=body)
    assert len(lint_files(tmp_path, {"lora_layer.py": source}, codes=["LS222"])) == count


ENTRY = """
from peft.tuners.lora import LoraLayer


class Fader:
    def __init__(self, model, adapter):
        self.adapter = adapter
        self.layers = [m for m in model.modules() if isinstance(m, LoraLayer)]
        self.initial = [m.scaling[adapter] for m in self.layers]

    def {name}(self, weight):
        for layer, start in zip(self.layers, self.initial):
            {body}
"""
SET = "layer.scaling[self.adapter] = "


@pytest.mark.parametrize(
    ("name", "body", "count"),
    [
        ("set_weight", "layer.scaling[self.adapter] *= weight", 1),
        ("set_weight", SET + "layer.scaling[self.adapter] * weight", 1),
        ("on_step_end", "layer.scaling[self.adapter] *= weight", 1),
        ("scale_layer", "layer.scaling[self.adapter] *= weight", 0),
        ("set_weight", SET + "start * weight", 0),
        ("set_weight", SET + "start\n            layer.scaling[self.adapter] *= weight", 0),
        ("set_weight", SET + "layer.lora_alpha[self.adapter] / layer.r[self.adapter] * weight", 0),
    ],
)
def test_an_entry_of_a_table_of_scalings(name: str, body: str, count: int, tmp_path: Path) -> None:
    source = ENTRY.format(name=name, body=body)
    found = lint_files(tmp_path, {"lora.py": source}, codes={"LS222"})
    assert [item.confidence for item in found] == ["high"] * count


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ("m.scaling *= strength", 1),
        ("m.scaling = m.scaling * strength", 1),
        ("m.scaling = m.lora_alpha / m.r * strength", 0),
        ("m.scaling = m.trained_scaling * strength", 0),
    ],
)
def test_the_scaling_of_layers_that_are_found(body: str, count: int, tmp_path: Path) -> None:
    source = f"""
    def set_lora_strength(model, strength):
        for m in model.modules():
            if hasattr(m, "lora_A"):
                {body}
    """
    found = lint_files(tmp_path, {"lora.py": source}, codes={"LS222"})
    assert [item.confidence for item in found] == ["medium"] * count
