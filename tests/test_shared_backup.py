"""LS116: saved weights that need not be copies."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_rule_examples import apply, findings

SOURCE = """\
class LoRALinear:
    def __init__(self, base_layer, lora_scaling):
        self.base_layer = base_layer
        self.lora_scaling = lora_scaling
        self.saved = {saved}

    def set_lora_weights(self, lora_A, lora_B):
        self.lora_A = lora_A
        self.lora_B = lora_B

    def merge(self):
        device = self.base_layer.weight.{device}
        data = self.base_layer.weight.data.to(compute_device())
        data += self.lora_scaling * (self.lora_B @ self.lora_A)
        {store}

    def unmerge(self):
        self.base_layer.weight.data = {restored}
"""
RIGHT = {
    "saved": 'base_layer.weight.to("cpu")',
    "device": "device",
    "store": "self.base_layer.weight.data = data.to(device)",
    "restored": "self.saved.to(self.base_layer.weight)",
}


@pytest.mark.parametrize(
    ("saved", "copied"),
    [
        ('base_layer.weight.to("cpu")', 'base_layer.weight.to("cpu", copy=True)'),
        ("base_layer.weight.cpu()", 'base_layer.weight.to("cpu", copy=True)'),
        ("base_layer.weight.detach().cpu()", 'base_layer.weight.detach().to("cpu", copy=True)'),
        ('base_layer.weight.data.to("cpu")', 'base_layer.weight.data.to("cpu", copy=True)'),
    ],
)
def test_what_may_be_the_weight_itself_fires(saved: str, copied: str, tmp_path: Path) -> None:
    text = SOURCE.format(**RIGHT | {"saved": saved})
    (found,) = findings(text, tmp_path)
    assert found.code == "LS116"
    repaired = apply(text, found)
    assert f"self.saved = {copied}\n" in repaired
    assert "= self.saved.to(self.base_layer.weight, copy=True)\n" in repaired
    assert findings(repaired, tmp_path) == ()


@pytest.mark.parametrize(
    "change",
    [
        {"saved": 'base_layer.weight.to("cpu", copy=True)'},
        {"saved": 'base_layer.weight.to("cpu").clone()'},
        {"saved": "base_layer.weight.detach().clone()"},
        {"saved": 'base_layer.weight.to("cuda")'},
        {"saved": "quantize(base_layer.weight)"},
        {"restored": "self.saved.clone()"},
        {"store": "self.base_layer.weight = Parameter(data.to(device))"},
        {"device": "dtype"},
    ],
)
def test_copies_and_weights_of_one_device_are_silent(change: dict[str, str], tmp_path: Path) -> None:
    assert findings(SOURCE.format(**RIGHT | change), tmp_path) == ()


def test_a_method_that_stands_twice_gets_its_argument_once(tmp_path: Path) -> None:
    text = SOURCE.format(**RIGHT)
    unmerge = text[text.index("    def unmerge") :]
    twice = text + "\n" + unmerge
    (found,) = findings(twice, tmp_path, "LS116")
    repaired = apply(twice, found)
    assert repaired.count("copy=True") == 2  # the former of two methods of one name is never called
    assert findings(repaired, tmp_path) == ()
