"""LS301: an alpha that the loader looks up itself, and leaves behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_rule_examples import findings

LAYER = """\
class LoRALinear:
    def __init__(self, base_layer, lora_rank=None, lora_alpha=None):
        self.base_layer = base_layer
        self.lora_rank = lora_rank
        self.lora_alpha = lora_alpha

    def set_lora_weights(self, lora_A, lora_B, lora_alpha=None):
        self.lora_A = lora_A
        self.lora_B = lora_B
        self.lora_rank = lora_A.shape[0]
        self.lora_alpha = lora_alpha

    def merge(self):
        scale = 1.0 if self.lora_alpha is None else self.lora_alpha / self.lora_rank
        self.base_layer.weight.data += scale * (self.lora_B @ self.lora_A)


def load_adapter(layers, sd):
    for name, layer in layers.items():
        {alpha}
        layer.set_lora_weights(sd[f"{{name}}.lora_A.weight"], sd[f"{{name}}.lora_B.weight"]{given})
        {after}
"""


@pytest.mark.parametrize(
    "alpha", ['alpha = sd.get(f"{name}.alpha")', 'lora_alpha = float(sd[f"{name}.alpha"])']
)
def test_an_alpha_that_is_left_behind_fires(alpha: str, tmp_path: Path) -> None:
    found = findings(LAYER.format(alpha=alpha, given="", after="pass"), tmp_path, "LS301")
    assert [item.code for item in found] == ["LS301"]
    assert any("nothing uses it" in step.message for step in found[0].trace)


@pytest.mark.parametrize(
    ("alpha", "given", "after"),
    [
        ('alpha = sd.get(f"{name}.alpha")', ", alpha", "pass"),
        ('alpha = sd.get(f"{name}.alpha")', ", lora_alpha=alpha", "pass"),
        ('alpha = sd.get(f"{name}.alpha")', "", "layer.lora_alpha = alpha"),
        ('alpha = sd.get(f"{name}.alpha")', "", "layer.set_alpha(alpha)"),
        ('alpha = sd.get(f"{name}.alpha")', "", "setattr(layer, 'lora_alpha', alpha)"),
        ('scale = sd.get(f"{name}.alpha")', "", "layer.rescale(scale)"),
    ],
)
def test_an_alpha_that_goes_on_is_silent(alpha: str, given: str, after: str, tmp_path: Path) -> None:
    assert findings(LAYER.format(alpha=alpha, given=given, after=after), tmp_path, "LS301") == ()
