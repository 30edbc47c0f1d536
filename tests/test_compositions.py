"""LS113 and LS109 over classes that keep the product, its scale and the sum in methods of their own."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent, indent

import pytest

from tests.projects import fix_files, lint_files

HEAD = """
import torch
from torch import nn


class LoRA(nn.Module):
    def __init__(self, config, width):
        super().__init__()
        self.r = config.r
        self.lora_alpha = config.alpha
        self.scaling = self.lora_alpha / self.r
        self.use_gating = config.use_gating
        self.use_dora = config.use_dora
        self.lora_A = nn.Parameter(torch.zeros(self.r, width))
        self.lora_B = nn.Parameter(torch.zeros(width, self.r))

    @property
    def delta_w(self):
        return self.lora_B @ self.lora_A
"""
COMPOSE = """
def compose(self, weights, added, scaling=None):
    if scaling is None:
        scaling = self.scaling
    return weights + added * scaling
"""
FORWARD = """
def forward(self, x):
    out = x @ self.lora_A.T @ self.lora_B.T
    if self.use_gating:
        out = out * torch.sigmoid(self.gate(x))
    return out
"""
SCALED_FORWARD = FORWARD.replace(
    "    return out", "    else:\n        out = out * self.scaling\n    return out"
)
LAYER = """

class LoRALinear(nn.Linear):
    def merge(self, name):
        lora = self.loras[name]
        self.weight.data = lora.compose(self.weight.data, lora.delta_w)

    def forward(self, x):
        out = super().forward(x)
        lora = self.loras[self.active]
        return lora.compose(out, lora(x), scaling=1.0)
"""
DORA_MERGE = """

def dora_merge(weights, added, magnitude):
    summed = weights + added
    return magnitude / torch.linalg.norm(summed, dim=1).unsqueeze(1) * summed


class LoRALinear(nn.Linear):
    def merge(self, name):
        lora = self.loras[name]
        delta = self.turned(lora.delta_w)
        if lora.use_dora:
            self.weight.data = dora_merge(self.weight.data, delta, lora.m)
        else:
            self.weight.data = lora.compose(self.weight.data, delta)
"""
RESET = """

def without_dora(weights, added, magnitude, norm):
    return weights * norm / magnitude - added


class LoRALinear(nn.Linear):
    def reset(self):
        lora = self.loras[self.merged]
        delta = lora.delta_w * lora.scaling
        if lora.use_dora:
            delta = without_dora(self.weight.data, delta, lora.m, lora.norm)
        else:
            self.weight.data = self.weight.data - delta
        self.merged = None
"""


def _source(*parts: str) -> str:
    """Methods are written without indentation, classes and functions with a blank line before."""
    return HEAD + "".join(part if part.startswith("\n\n") else indent(part, "    ") for part in parts)


ONE_SIDED = {
    "a forward whose caller applies 1": _source(COMPOSE, FORWARD, LAYER),
    "a scale by `or`": _source(
        COMPOSE.replace(
            "if scaling is None:\n        scaling = self.scaling", "scaling = scaling or self.scaling"
        ),
        FORWARD,
        LAYER,
    ),
    "an inline alpha / r": _source(
        COMPOSE.replace("scaling = self.scaling", "scaling = self.lora_alpha / self.r"), FORWARD, LAYER
    ),
    "torch.add": _source(
        COMPOSE.replace("weights + added * scaling", "torch.add(weights, added, alpha=scaling)"),
        FORWARD,
        LAYER,
    ),
    "a forward that returns a pair": _source(
        COMPOSE,
        FORWARD.replace("return out", "return out, self.use_gating"),
        LAYER.replace("lora(x), scaling", "lora(x)[0], scaling"),
    ),
    "a DoRA branch of its own": _source(COMPOSE, SCALED_FORWARD, DORA_MERGE),
    "a DoRA branch, tested the other way": _source(
        COMPOSE,
        SCALED_FORWARD,
        DORA_MERGE.replace("if lora.use_dora:", "if not lora.use_dora:")
        .replace("dora_merge(self.weight.data, delta, lora.m)", "X")
        .replace("lora.compose(self.weight.data, delta)", "dora_merge(self.weight.data, delta, lora.m)")
        .replace("= X", "= lora.compose(self.weight.data, delta)"),
    ),
}
EVEN = {
    "the forward scales": _source(COMPOSE, SCALED_FORWARD, LAYER),
    "the layer leaves the scale to the composition": _source(
        COMPOSE, FORWARD, LAYER.replace(", scaling=1.0", "")
    ),
    "the layer gives the scale": _source(COMPOSE, FORWARD, LAYER.replace("=1.0", "=lora.scaling")),
    "the layer scales the output of the forward": _source(
        COMPOSE, FORWARD, LAYER.replace("lora(x), ", "lora(x) * lora.scaling, ")
    ),
    "the factors are applied scaled by a helper": _source(
        COMPOSE,
        FORWARD.replace("return out", "return self.finish(out)"),
        "\ndef finish(self, out):\n    return out * self.scaling\n",
        LAYER,
    ),
    "the DoRA branch gets the scaled delta": _source(
        COMPOSE,
        SCALED_FORWARD,
        DORA_MERGE.replace("data, delta, lora.m", "data, delta * lora.scaling, lora.m"),
    ),
    "the DoRA helper scales": _source(
        COMPOSE,
        SCALED_FORWARD,
        DORA_MERGE.replace("weights + added", "weights + added * magnitude.lora_scaling"),
    ),
    "the product itself is scaled": _source(COMPOSE, SCALED_FORWARD, DORA_MERGE).replace(
        "return self.lora_B @ self.lora_A", "return self.lora_B @ self.lora_A * self.scaling"
    ),
}
KEPT = {
    "both branches write": RESET.replace("delta = without", "self.weight.data = without"),
    "the result is written behind the branch": RESET.replace(
        "        delta = without", "        weight = without"
    )
    .replace("self.weight.data = self.weight.data - delta", "weight = self.weight.data - delta")
    .replace("        self.merged", "        self.weight.data = weight\n        self.merged"),
    "the local is read again": RESET.replace(
        "        self.merged", "        self.seen = delta\n        self.merged"
    ),
    "a helper changes the weight in place": RESET.replace(
        "    return weights * norm", "    weights.sub_(added)\n    return weights * norm"
    ),
    "the branch restores another way": RESET.replace(
        "lora.norm)", "lora.norm)\n            self.restore(lora)"
    ),
}


@pytest.mark.parametrize("name", ONE_SIDED)
def test_one_sided(name: str, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora.py": dedent(ONE_SIDED[name])}, codes=["LS113"])
    assert [finding.code for finding in found] == ["LS113"]


@pytest.mark.parametrize("name", EVEN)
def test_even(name: str, tmp_path: Path) -> None:
    assert lint_files(tmp_path, {"lora.py": dedent(EVEN[name])}, codes=["LS113"]) == ()


@pytest.mark.parametrize(
    "text",
    [
        RESET,
        RESET.replace("without_dora(self.weight.data, delta, lora.m, lora.norm)", "self.weight.data - delta"),
        RESET.replace("delta = without", "restored = without"),
        RESET.replace("self.weight.data = self.weight.data - delta", "self.weight.data -= delta"),
        RESET.replace("self.weight.data = self.weight.data - delta", "self.weight.data.sub_(delta)"),
    ],
)
def test_a_discarded_weight(text: str, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora.py": _source(text)}, codes=["LS109"])
    assert [finding.code for finding in found] == ["LS109"]


@pytest.mark.parametrize("name", KEPT)
def test_a_kept_weight(name: str, tmp_path: Path) -> None:
    assert lint_files(tmp_path, {"lora.py": _source(KEPT[name])}, codes=["LS109"]) == ()


REPAIRED = {
    "a forward whose caller applies 1": (
        "self.gate(x))\n",
        "self.gate(x))\n        else:\n            out = out * self.scaling\n",
        False,
    ),
    "a scale by `or`": (
        "self.gate(x))\n",
        "self.gate(x))\n        else:\n            out = out * self.scaling\n",
        False,
    ),
    "a forward that returns a pair": (
        "self.gate(x))\n",
        "self.gate(x))\n        else:\n            out = out * self.scaling\n",
        False,
    ),
    "a DoRA branch of its own": ("data, delta, lora.m", "data, delta * lora.scaling, lora.m", True),
    "a DoRA branch, tested the other way": (
        "data, delta, lora.m",
        "data, delta * lora.scaling, lora.m",
        True,
    ),
}


@pytest.mark.parametrize("name", REPAIRED)
def test_repaired(name: str, tmp_path: Path) -> None:
    before, after, unsafe = REPAIRED[name]
    source = dedent(ONE_SIDED[name])
    texts, left = fix_files(tmp_path, {"lora.py": source}, codes=["LS113"], unsafe=unsafe)
    assert texts == {"lora.py": source.replace(before, after, 1)}
    assert [finding.code for finding in left if finding.code == "LS113"] == []


def test_a_forward_without_a_gate_scales_what_it_returns(tmp_path: Path) -> None:
    forward = "\ndef forward(self, x):\n    return x @ self.lora_A.T @ self.lora_B.T\n"
    source = dedent(_source(COMPOSE, forward, LAYER))
    texts, _ = fix_files(tmp_path, {"lora.py": source}, codes=["LS113"])
    assert texts == {"lora.py": source.replace("self.lora_B.T\n", "self.lora_B.T * self.scaling\n", 1)}


def test_a_bare_delta_is_scaled_wherever_the_class_hands_it_to_a_function(tmp_path: Path) -> None:
    norm = """
    def norm(self, name):
        lora = self.loras[name]
        return dora_norm(self.weight, lora.delta_w)


def dora_norm(weights, added):
    return torch.linalg.norm(weights + added, dim=1)
"""
    source = dedent(_source(COMPOSE, SCALED_FORWARD, DORA_MERGE)) + norm
    texts, left = fix_files(tmp_path, {"lora.py": source}, codes=["LS113"], unsafe=True)
    expected = source.replace("data, delta, lora.m", "data, delta * lora.scaling, lora.m")
    expected = expected.replace("self.weight, lora.delta_w)", "self.weight, lora.delta_w * lora.scaling)")
    assert texts == {"lora.py": expected}
    assert left == ()


def test_a_bare_delta_that_also_goes_elsewhere_is_not_scaled(tmp_path: Path) -> None:
    kept = """
    def keep(self, name):
        self.kept = self.loras[name].delta_w
"""
    source = dedent(_source(COMPOSE, SCALED_FORWARD, DORA_MERGE)) + kept
    assert [item.fix for item in lint_files(tmp_path, {"lora.py": source}, codes=["LS113"])] == [None]


def test_a_discarded_weight_is_written_where_the_sibling_writes(tmp_path: Path) -> None:
    source = _source(RESET)
    texts, left = fix_files(tmp_path, {"lora.py": source}, codes=["LS109"], unsafe=True)
    assert texts == {"lora.py": source.replace("delta = without", "self.weight.data = without")}
    assert left == ()
