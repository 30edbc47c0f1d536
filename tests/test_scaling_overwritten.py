"""LS245: a strength in the place of alpha / rank, and setters that keep it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

LAYER = """
import torch
from torch import nn


class Branch(nn.Module):
    def __init__(self, base, r=8, lora_alpha=16):
        super().__init__()
        self.base = base
        self.a = nn.Linear(base.in_features, r, bias=False)
        self.b = nn.Linear(r, base.out_features, bias=False)
        self.r, self.lora_alpha = r, lora_alpha
        self.scaling = lora_alpha / r
        self.trained = lora_alpha / r

    def forward(self, x):
        return self.base(x) + self.b(self.a(x)) * self.scaling

"""
WALK = """

def tune(model, {parameter}):
    for m in model.modules():
        if isinstance(m, Branch):
            m.scaling = {value}
"""
METHOD = """    def tune(self, {parameter}):
        self.scaling = {value}
"""


def found(folder: Path, rest: str, parameter: str, value: str, caller: str = "") -> list[tuple[str, str]]:
    text = LAYER + rest.format(parameter=parameter, value=value) + caller
    return [(f.code, f.confidence) for f in lint_files(folder, {"lora.py": text}, codes=["LS245"])]


@pytest.mark.parametrize("rest", [WALK, METHOD], ids=["walk", "method"])
@pytest.mark.parametrize(
    ("parameter", "confidence"), [("strength", "high"), ("multiplier=1.0", "high"), ("scale", "medium")]
)
def test_a_bare_strength_is_reported(rest: str, parameter: str, confidence: str, tmp_path: Path) -> None:
    name = parameter.partition("=")[0]
    assert found(tmp_path, rest, parameter, name) == [("LS245", confidence)]


@pytest.mark.parametrize("rest", [WALK, METHOD], ids=["walk", "method"])
@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("strength", "strength * {owner}.trained"),
        ("strength", "strength * {owner}.lora_alpha / {owner}.r"),
        ("scaling", "scaling"),
        ("strength", "0.0"),
        ("alpha, rank", "alpha / rank"),
    ],
)
def test_what_keeps_the_trained_scale_is_not(rest: str, parameter: str, value: str, tmp_path: Path) -> None:
    value = value.format(owner="m" if rest is WALK else "self")
    assert found(tmp_path, rest, parameter, value) == []


def test_a_caller_that_gives_the_whole_scale_is_heard(tmp_path: Path) -> None:
    caller = """

def load(model, config):
    tune(model, config["lora_alpha"] / config["r"])
"""
    assert found(tmp_path, WALK, "strength", "strength", caller) == []


def test_a_field_beside_the_trained_scale_is_a_strength(tmp_path: Path) -> None:
    text = (
        (LAYER + METHOD.format(parameter="strength", value="strength"))
        .replace("self.scaling = lora_alpha / r", "self.scaling = 1.0")
        .replace("* self.scaling", "* self.scaling * self.trained")
    )
    assert lint_files(tmp_path, {"lora.py": text}, codes=["LS245"]) == ()
