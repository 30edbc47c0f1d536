"""LS128: two uses of the same factors at different trained scales."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

LAYER = """
import math


class LoRALinear:
    def __init__(self, base, lora_A, lora_B, lora_alpha, r, use_rslora=False):
        self.base, self.lora_A, self.lora_B = base, lora_A, lora_B
        self.lora_alpha, self.r = lora_alpha, r
        self.scaling = {scaling}

    def forward(self, x):
        return self.base(x) + x @ self.lora_A.T @ self.lora_B.T * self.scaling

    def merge(self):
        self.base.weight += self.lora_B @ self.lora_A * {merged}
"""

FUNCTIONS = """
import math


def dense(params, lora, x, spec):
    gain = spec.alpha / {divisor}
    return x @ params["kernel"] + gain * ((x @ lora["a"]) @ lora["b"])


def {name}(params, lora, spec):
    return {{"kernel": params["kernel"] + {settings}.alpha / {settings}.rank * (lora["a"] @ lora["b"])}}
"""


def found(folder: Path, source: str) -> list[tuple[str, str]]:
    codes = {"LS109", "LS121", "LS128", "LS223"}
    return [(item.code, item.confidence) for item in lint_files(folder, {"lora.py": source}, codes=codes)]


@pytest.mark.parametrize(
    ("scaling", "merged", "count"),
    [
        ("lora_alpha / math.sqrt(r)", "(self.lora_alpha / self.r)", 1),
        ("lora_alpha * r**-0.5", "self.lora_alpha / self.r", 1),
        ("lora_alpha / r", "2 * self.lora_alpha / self.r", 1),
        ("lora_alpha / r", "self.scaling", 0),
        ("lora_alpha / r", "(1 / self.r) * self.lora_alpha", 0),
        ("lora_alpha / r", "self.strength * self.lora_alpha / self.r", 0),
        ("lora_alpha / r", "0 * self.lora_alpha / self.r", 0),
        ("lora_alpha / math.sqrt(r)", "(self.lora_alpha / self.r**0.5)", 0),
        ("lora_alpha / math.sqrt(r) if use_rslora else lora_alpha / r", "self.scaling", 0),
    ],
)
def test_a_merge_and_its_forward(scaling: str, merged: str, count: int, tmp_path: Path) -> None:
    assert found(tmp_path, LAYER.format(scaling=scaling, merged=merged)) == [("LS128", "high")] * count


def test_a_class_below_that_replaces_both_uses(tmp_path: Path) -> None:
    source = (
        LAYER.format(scaling="lora_alpha / r", merged="self.scaling")
        + """

class RootLinear(LoRALinear):
    def forward(self, x):
        return self.base(x) + x @ self.lora_A.T @ self.lora_B.T * (self.lora_alpha / math.sqrt(self.r))

    def merge(self):
        self.base.weight += self.lora_B @ self.lora_A * (self.lora_alpha / math.sqrt(self.r))
"""
    )
    assert found(tmp_path, source) == []


def test_a_class_below_that_inherits_the_merge(tmp_path: Path) -> None:
    source = (
        LAYER.format(scaling="lora_alpha / r", merged="self.scaling")
        + """

class RootLinear(LoRALinear):
    def forward(self, x):
        return self.base(x) + x @ self.lora_A.T @ self.lora_B.T * (self.lora_alpha / math.sqrt(self.r))
"""
    )
    assert [code for code, _ in found(tmp_path, source)] == ["LS128"]


@pytest.mark.parametrize(
    ("divisor", "name", "settings", "count"),
    [
        ("math.sqrt(spec.rank)", "export", "spec", 1),
        ("spec.rank", "export", "spec", 0),
        ("math.sqrt(spec.rank)", "export_without_rslora", "spec", 0),
        ("math.sqrt(spec.rank)", "export", "other", 0),
    ],
)
def test_functions_that_read_the_same_settings(
    divisor: str, name: str, settings: str, count: int, tmp_path: Path
) -> None:
    source = FUNCTIONS.format(divisor=divisor, name=name, settings=settings)
    assert (
        found(tmp_path, source.replace("(params, lora, spec):", f"(params, lora, {settings}):"))
        == [("LS128", "high")] * count
    )
