"""LS108: scales that are the literal 1 beside an alpha that nothing uses; and constants that are right."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from lorascale_lint.findings import Finding
from tests.projects import lint_files

STORED_BY_NAME = """
class Switch:
    def __init__(self, base_layer):
        self.base_layer = base_layer
        self.lora_A, self.lora_B = {}, {}
        self.scaling = {}

    def put(self, adapter, lora_A, lora_B, lora_alpha):
        self.lora_A[adapter] = lora_A
        self.lora_B[adapter] = lora_B
        self.scaling[adapter] = 1.0

    def forward(self, x, adapter):
        delta = x @ self.lora_A[adapter].T @ self.lora_B[adapter].T
        return self.base_layer(x) + delta * self.scaling[adapter]
"""
PATCHED = """
def patch(layer, lora_down, lora_up, alpha):
    scaling = 1
    before = layer.forward
    layer.forward = lambda x: before(x) + scaling * (x @ lora_down.T @ lora_up.T)
"""
PARAMETERS = """
import jax.numpy as jnp


def lora_params(key, width, rank, alpha):
    return {"lora_a": key.normal((width, rank)), "lora_b": jnp.zeros((rank, width)), "scaling": 1.0}
"""
LOADED = """
def load_lora(layers, tensors):
    for name, layer in layers.items():
        down = tensors[name + ".lora_down.weight"]
        up = tensors[name + ".lora_up.weight"]
        network_alpha = tensors.get(name + ".alpha")
        scale = 1.0
        layer.weight.data += scale * (up @ down)
"""
CONFIGURED = """
from dataclasses import dataclass


@dataclass
class LoraSettings:
    lora_rank: int = 16
    lora_alpha: float = 32.0

    @property
    def scaling(self):
        return 1.0
"""
ROOT_BRANCH = """
from torch import nn


class LoRALinear(nn.Module):
    def __init__(self, base, rank, lora_alpha, rs_lora):
        super().__init__()
        self.base = base
        self.lora_A = nn.Linear(base.in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, base.out_features, bias=False)
        if rs_lora:
            self.scaling = ROOT
        else:
            self.scaling = lora_alpha / rank

    def forward(self, x):
        return self.base(x) + self.lora_B(self.lora_A(x)) * self.scaling
"""


def found(folder: Path, source: str) -> tuple[Finding, ...]:
    return tuple(lint_files(folder, {"lora.py": dedent(source)}))


@pytest.mark.parametrize(
    "source",
    [STORED_BY_NAME, PATCHED, PARAMETERS, LOADED, CONFIGURED, ROOT_BRANCH.replace("ROOT", "1.0")],
    ids=["dictionary", "closure", "jax", "file", "configuration", "rslora"],
)
def test_a_constant_beside_an_alpha(tmp_path: Path, source: str) -> None:
    codes = [finding.code for finding in found(tmp_path, source)]
    assert codes == (["LS108", "LS310"] if source is LOADED else ["LS108"])  # the merge itself is named too


@pytest.mark.parametrize(
    ("source", "old", "new"),
    [
        (STORED_BY_NAME, "= 1.0", "= lora_alpha / lora_A.shape[0]"),
        (STORED_BY_NAME, ", lora_alpha)", ")"),  # no alpha at all: trained at scale 1
        (STORED_BY_NAME, "= lora_B\n", "= lora_B * (lora_alpha / lora_A.shape[0])\n"),  # folded
        (STORED_BY_NAME, "= 1.0", "= 20.0"),  # a scale that is chosen
        (PATCHED, "alpha):", "alpha):\n    lora_up = lora_up * (alpha / lora_down.shape[0])"),
        (PATCHED, "scaling = 1\n", "scaling = 1 if alpha is None else alpha / lora_down.shape[0]\n"),
        (PARAMETERS, '"scaling": 1.0', '"scaling": 1.0, "alpha": alpha'),
        (LOADED, "scale = 1.0", "scale = 1.0 if network_alpha is None else network_alpha / down.shape[0]"),
        (CONFIGURED, "return 1.0", "return self.lora_alpha / self.lora_rank"),
        (CONFIGURED, "    lora_alpha: float = 32.0\n", ""),
        (ROOT_BRANCH, "ROOT", "lora_alpha * rank ** -0.5"),
    ],
)
def test_constants_that_are_right(tmp_path: Path, source: str, old: str, new: str) -> None:
    changed = source.replace(old, new)
    assert changed != source
    assert found(tmp_path, changed) == ()


def test_a_flag_that_asks_for_no_scale_is_a_choice(tmp_path: Path) -> None:
    source = ROOT_BRANCH.replace("rs_lora", "merged_at_one").replace("ROOT", "1.0")
    assert found(tmp_path, source) == ()


def test_alpha_as_it_came_on_one_branch(tmp_path: Path) -> None:
    source = ROOT_BRANCH.replace("ROOT", "lora_alpha")
    assert [finding.code for finding in found(tmp_path, source)] == ["LS107"]


SEQUENCE = """
from torch import nn


class Adapter(nn.Module):
    def __init__(self, linear, rank, alpha):
        super().__init__()
        self.linear = linear
        self.scale = RATIO
        self.lora_path = nn.Sequential(
            nn.Dropout(0.1), nn.Linear(linear.in_features, rank), MIDDLE nn.Linear(rank, linear.out_features)
        )

    def forward(self, x):
        return self.linear(x) + self.lora_path(x) * self.scale
"""


@pytest.mark.parametrize(
    ("ratio", "middle", "codes"),
    [
        ("alpha / rank", "", []),
        ("rank / alpha", "", ["LS111"]),
        ("alpha", "", ["LS107"]),
        ("1.0", "", ["LS102"]),
        ("alpha / rank", "nn.ReLU(),", []),
    ],
)
def test_both_factors_in_sequence(tmp_path: Path, ratio: str, middle: str, codes: list[str]) -> None:
    source = SEQUENCE.replace("RATIO", ratio).replace("MIDDLE", middle)
    assert [finding.code for finding in found(tmp_path, source)] == codes


def test_scaling_of_the_adapter_on_the_base_too(tmp_path: Path) -> None:
    source = SEQUENCE.replace("RATIO", "alpha / rank").replace("MIDDLE", "")
    wrong = source.replace(
        "self.linear(x) + self.lora_path(x) * self.scale", "(self.linear(x) + self.lora_path(x)) * self.scale"
    )
    assert [finding.code for finding in found(tmp_path, wrong)] == ["LS110"]


def test_scaling_of_attention_multiplies_the_whole_query(tmp_path: Path) -> None:
    source = """
    class LoRAAttention:
        def __init__(self, q_proj, lora_A, lora_B, head_dim):
            self.q_proj = q_proj
            self.lora_A = lora_A
            self.lora_B = lora_B
            self.scaling = head_dim ** -0.5

        def query(self, x):
            return (self.q_proj(x) + x @ self.lora_A.T @ self.lora_B.T) * self.scaling
    """
    assert found(tmp_path, source) == ()


@pytest.mark.parametrize("right", [True, False])
def test_one_factor_scaled_twice_by_one_name(tmp_path: Path, right: bool) -> None:
    twice = "self.scale * self.lora_b.T" if right else "self.scale * self.lora_b.T * self.scale"
    source = f"""
    class LoRALinear:
        def __init__(self, linear, lora_a, lora_b, scale):
            self.linear = linear
            self.lora_a = lora_a
            self.lora_b = lora_b
            self.scale = scale

        def fuse(self):
            self.linear.weight = self.linear.weight + ({twice}) @ self.lora_a.T
    """
    assert [finding.code for finding in found(tmp_path, source)] == ([] if right else ["LS118"])


NO_ALPHA_GIVEN = """
class LoRALayer:
    def __init__(self, base, lora_A, lora_B, rank=4, alpha=None):
        self.base = base
        self.lora_A, self.lora_B = lora_A, lora_B
        self.alpha = alpha if alpha is not None else float(rank)
        self.scaling = self.alpha / rank

    def forward(self, x):
        return self.base(x) + (x @ self.lora_A.T @ self.lora_B.T) * self.scaling

    def set_lora_weights(self, weights):
        self.lora_A.copy_(weights["lora_A"])
        self.lora_B.copy_(weights["lora_B"])


def run(base, lora_A, lora_B, x):
    layer = LoRALayer(base, lora_A, lora_B)
    return layer.forward(x)
"""


@pytest.mark.parametrize("right", [True, False])
def test_a_caller_without_an_alpha_does_not_make_a_layer_unscaled(tmp_path: Path, right: bool) -> None:
    """The layer scales; that its only caller in sight leaves alpha at the rank is no error of it."""
    source = NO_ALPHA_GIVEN if right else NO_ALPHA_GIVEN.replace(" * self.scaling", "")
    codes = {finding.code for finding in found(tmp_path, source) if finding.confidence == "high"}
    assert bool(codes & {"LS101", "LS102", "LS108"}) is not right


KEPT_ALPHA = """
import torch
from torch import nn


class LoRALinear(nn.Module):
    def __init__(self, in_features, out_features, rank=4, alpha=16):
        super().__init__()
        self.base_layer = nn.Linear(in_features, out_features)
        self.lora_alpha = alpha
        {former}
        self.scaling = 1
        self.lora_A = nn.Parameter(torch.zeros(rank, in_features))
        self.lora_B = nn.Parameter(torch.zeros(out_features, rank))

    def forward(self, x):
        delta = (x @ self.lora_A.T) @ self.lora_B.T
        return self.base_layer(x) + delta * self.scaling
"""


@pytest.mark.parametrize(
    ("former", "codes"),
    [("# self.scaling = alpha / rank", []), ("# no change at the start", ["LS102"])],
    ids=["the formula is a comment beside it", "another comment"],
)
def test_a_constant_that_replaces_the_formula(former: str, codes: list[str], tmp_path: Path) -> None:
    files = {"lora_layer.py": KEPT_ALPHA.format(former=former)}
    assert [f.code for f in lint_files(tmp_path, files) if f.code in ("LS102", "LS108")] == codes
