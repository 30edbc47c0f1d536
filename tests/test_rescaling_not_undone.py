"""LS242: scalings that are multiplied for a while, and what divides them again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

HEAD = """\
from diffusers.utils import scale_lora_layers, unscale_lora_layers
from peft.tuners.lora import LoraLayer


def layers(model):
    return [m for m in model.modules() if isinstance(m, LoraLayer)]


"""
WRONG = {
    "scaled twice": """\
def run(model, lora_weight, x):
    for m in layers(model):
        m.scale_layer(lora_weight)
    y = model(x)
    for m in layers(model):
        m.scale_layer(lora_weight)
    return y
""",
    "no number": """\
def run(lora_model, x, scale):
    scale_lora_layers(lora_model, weight=scale)
    y = lora_model(x)
    unscale_lora_layers(lora_model)
    return y
""",
    "None": """\
def run(lora_model, x, scale):
    if scale is not None:
        scale_lora_layers(lora_model, scale)
    y = lora_model(x)
    unscale_lora_layers(lora_model, None)
    return y
""",
    "another number": """\
def run(model, lora_weight, other, x):
    for m in layers(model):
        m.scale_layer(lora_weight)
    y = model(x)
    for m in layers(model):
        m.unscale_layer(other)
    return y
""",
}
RIGHT = {
    "asked for None before": """\
def run(lora_model, x, scale=None, peft=True):
    if scale is not None and isinstance(lora_model, LoraLayer):
        lora_model.kept = scale
        if lora_model.text_encoder is not None:
            scale_lora_layers(lora_model, scale)
    y = lora_model(x)
    if isinstance(lora_model, LoraLayer) and peft:
        unscale_lora_layers(lora_model, scale)
    return y
""",
    "the same number": """\
def run(lora_model, x, scale):
    scale_lora_layers(lora_model, scale)
    y = lora_model(x)
    unscale_lora_layers(lora_model, scale)
    return y
""",
    "PEFT puts the trained scale back": """\
def run(model, lora_weight, x):
    for m in layers(model):
        m.scale_layer(lora_weight)
    y = model(x)
    for m in layers(model):
        m.unscale_layer()
    return y
""",
    "one of two branches": """\
def run(model, lora_weight, x, late):
    if not late:
        for m in layers(model):
            m.scale_layer(lora_weight)
    else:
        for m in layers(model):
            m.scale_layer(lora_weight)
    return model(x)
""",
    "two models": """\
def run(lora_one, lora_two, x, scale):
    scale_lora_layers(lora_one, scale)
    scale_lora_layers(lora_two, scale)
    return lora_one(x) + lora_two(x)
""",
}


@pytest.mark.parametrize("name", WRONG)
def test_found(name: str, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora_run.py": HEAD + WRONG[name]}, codes=["LS242"])
    assert [finding.code for finding in found] == ["LS242"]


@pytest.mark.parametrize("name", RIGHT)
def test_silent(name: str, tmp_path: Path) -> None:
    assert lint_files(tmp_path, {"lora_run.py": HEAD + RIGHT[name]}, codes=["LS242"]) == ()
