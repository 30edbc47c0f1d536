"""LS301: an alpha that the loader looks up and leaves behind, or knows under one key only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.test_rule_examples import apply, findings

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


KEYS = """\
import torch
from safetensors.torch import load_file

{layer}

class LoRAPipeline:
    def load_adapter(self, adapter_name, path):
        self.adapters[adapter_name] = {{}}
        tensors = load_file(path)
        for key, tensor in tensors.items():
            {take}
            self.adapters[adapter_name][key.removesuffix(".weight")] = tensor
        for name, layer in self.layers.items():
            layer.set_lora_weights(
                self.adapters[adapter_name][name + ".lora_A"],
                self.adapters[adapter_name][name + ".lora_B"],
                lora_alpha=self.adapters[adapter_name].get(name + "{suffix}"),
            )
"""
OTHER = LAYER.partition("\n\ndef load_adapter")[0].format()
FOREIGN = 'key = key.replace("diffusion_model.", "")'


def test_formats_whose_alpha_has_another_key_fire(tmp_path: Path) -> None:
    source = KEYS.format(layer=OTHER, take=FOREIGN, suffix=".lora_alpha")
    (found,) = findings(source, tmp_path)
    assert found.code == "LS301"
    repaired = apply(source, found)
    assert "tensors = load_file(path)\n        add_lora_alphas(tensors, path)\n" in repaired
    assert repaired.startswith("import json\nimport os\nimport torch\nfrom safetensors import safe_open\n")
    assert findings(repaired, tmp_path) == ()


@pytest.mark.parametrize(
    ("take", "suffix"),
    [
        (FOREIGN, ".alpha"),
        ("key = key.replace('model.', '')", ".lora_alpha"),
        (FOREIGN + '.replace(".alpha", ".lora_alpha")', ".lora_alpha"),
    ],
)
def test_formats_whose_alpha_is_known_are_silent(take: str, suffix: str, tmp_path: Path) -> None:
    found = findings(KEYS.format(layer=OTHER, take=take, suffix=suffix), tmp_path)
    assert not [item for item in found if item.confidence == "high"]


def test_places_beside_the_tensors_are_asked_for_in_preview_only(tmp_path: Path) -> None:
    take = FOREIGN + '.replace(".alpha", ".lora_alpha")'
    source = KEYS.format(layer=OTHER, take=take, suffix=".lora_alpha")
    (found,) = findings(source, tmp_path)
    assert (found.code, found.confidence) == ("LS301", "medium")
    assert findings(apply(source, found), tmp_path) == ()


def test_the_helper_finds_every_alpha(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    safetensors = pytest.importorskip("safetensors.torch")
    source = KEYS.format(layer=OTHER, take=FOREIGN, suffix=".lora_alpha")
    (found,) = findings(source, tmp_path)
    module: dict[str, Any] = {}
    exec(compile(apply(source, found), "repaired", "exec"), module)

    def alpha(extra: dict[str, float], metadata: dict[str, str] | None = None, config: str = "") -> Any:
        path = tmp_path / "adapter.safetensors"
        tensors = {"layer.lora_A.weight": torch.ones(8, 4), "layer.lora_B.weight": torch.ones(4, 8)}
        tensors |= {key: torch.tensor(value) for key, value in extra.items()}
        safetensors.save_file(tensors, path, metadata)
        (tmp_path / "adapter_config.json").unlink(missing_ok=True)
        if config:
            (tmp_path / "adapter_config.json").write_text(config)
        module["add_lora_alphas"](tensors, str(path))
        return tensors.get("layer.lora_alpha")

    assert alpha({}) is None
    assert alpha({"layer.lora_alpha": 2.5, "layer.alpha": 3.0}) == 2.5
    assert alpha({"layer.alpha": 2.5}) == 2.5
    assert alpha({"layer.alpha_scale": 0.25}) == 2.0
    assert alpha({}, {"lora_alpha": "2.5"}) == 2.5
    assert alpha({}, config='{"lora_alpha": 4, "use_rslora": false}') == 4.0
    assert alpha({}, config='{"lora_alpha": 4, "use_rslora": true}') == pytest.approx(4 * 8**0.5)
    assert alpha({"layer.alpha": 1.0}, config='{"lora_alpha": 4}') == 1.0
