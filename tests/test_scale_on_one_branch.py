"""LS113: deltas scaled on one side of a condition, a class or a hierarchy, and reasons for that."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import fix_files, lint_files

LAYER = """\
import torch
import torch.nn.functional as F
from torch import nn


class LoRALinear(nn.Module):
    def __init__(self, base_layer, lora_A, lora_B, lora_rank, lora_alpha, gated):
        super().__init__()
        self.base_layer = base_layer
        self.lora_A = lora_A
        self.lora_B = lora_B
        self.lora_alpha = lora_alpha
        self.lora_rank = lora_rank
        self.scaling = lora_alpha / lora_rank
        self.gated = gated
"""

ONE_SIDED = {
    "training and evaluation": LAYER
    + """
    def forward(self, x):
        delta = x @ self.lora_A.T @ self.lora_B.T
        if self.training:
            delta = self.dropout(delta) * self.scaling
        return self.base_layer(x) + delta
""",
    "delta returned by a helper": LAYER
    + """
    def lora_delta(self, x):
        delta = x @ self.lora_A.T @ self.lora_B.T
        if self.gated:
            return delta * self.gate(x) * self.scaling
        return delta

    def forward(self, x):
        return self.base_layer(x) + self.lora_delta(x)
""",
    "delta returned beside its gate": LAYER
    + """
    def forward(self, x):
        hidden = self.dropout(x) @ torch.t(self.lora_A) @ torch.t(self.lora_B)
        if self.gated:
            gate = torch.sigmoid(self.gate(x))
            hidden = hidden * gate * self.scaling
        else:
            gate = None
        return hidden, gate
""",
    "module kinds of a merge function": """\
import torch
import torch.nn.functional as F


def merge_lora(layers, lora_sd):
    for name, layer in layers.items():
        up = lora_sd[name + ".lora_up.weight"]
        down = lora_sd[name + ".lora_down.weight"]
        scale = lora_sd[name + ".alpha"].item() / down.shape[0]
        if layer.weight.dim() == 4:
            layer.weight.data += F.conv2d(down.permute(1, 0, 2, 3), up).permute(1, 0, 2, 3)
        else:
            layer.weight.data += (up @ down) * scale
""",
    "methods that return the product": LAYER
    + """
    def delta_weight(self):
        return self.lora_B @ self.lora_A * self.scaling

    def delta_output(self, x):
        return x @ self.lora_A.T @ self.lora_B.T


def wrapped(layer: LoRALinear, x):
    return layer.base_layer(x) + layer.delta_output(x)
""",
    "siblings that inherit the scale": """\
import torch
import torch.nn.functional as F
from torch import nn


class LoRALayer:
    def __init__(self, rank, lora_alpha):
        self.scaling = lora_alpha / rank


class LoRALinear(nn.Linear, LoRALayer):
    def forward(self, x):
        return super().forward(x) + x @ self.lora_A.T @ self.lora_B.T * self.scaling


class LoRAEmbedding(nn.Embedding, LoRALayer):
    def forward(self, x):
        return super().forward(x) + F.embedding(x, self.lora_A.T) @ self.lora_B.T
""",
}

EXPLAINED = {
    "by alpha": LAYER
    + """
    def forward(self, x):
        delta = x @ self.lora_A.T @ self.lora_B.T
        if self.lora_alpha is not None:
            delta = delta * (self.lora_alpha / self.lora_rank)
        return self.base_layer(x) + delta
""",
    "by a flag that the factors are folded": LAYER
    + """
    def forward(self, x):
        delta = x @ self.lora_A.T @ self.lora_B.T
        if not self.is_folded:
            delta = delta * self.scaling
        return self.base_layer(x) + delta
""",
    "by the caller": LAYER
    + """
    def lora_delta(self, x, plain=False):
        delta = x @ self.lora_A.T @ self.lora_B.T
        if plain:
            return delta
        return delta * self.scaling
""",
    "by the format": """\
def merge_lora(layers, lora_sd, strength):
    for key in lora_sd:
        layer = layers[key.split(".")[0]]
        if "lora_A" in key:
            up = lora_sd[key.replace("lora_A", "lora_B")]
            layer.weight.data += strength * (up @ lora_sd[key])
        else:
            up = lora_sd[key.replace("lora_down", "lora_up")]
            alpha = lora_sd[key.replace("lora_down.weight", "alpha")].item()
            layer.weight.data += strength * (up @ lora_sd[key]) * (alpha / lora_sd[key].shape[0])
""",
    "by a helper that its caller scales": LAYER
    + """
    def product(self, x):
        return x @ self.lora_A.T @ self.lora_B.T

    def delta_weight(self):
        return self.lora_B @ self.lora_A * self.scaling

    def forward(self, x):
        return self.base_layer(x) + self.product(x) * self.scaling
""",
    "by a magnitude": LAYER
    + """
    def forward(self, x):
        delta = x @ self.lora_A.T @ self.lora_B.T
        if self.gated:
            delta = delta * self.scaling
        else:
            delta = delta * self.learned(x)
        return self.base_layer(x) + delta
""",
}


@pytest.mark.parametrize("name", ONE_SIDED)
def test_one_sided(name: str, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora_layer.py": ONE_SIDED[name]}, codes=["LS113"])
    assert [finding.code for finding in found] == ["LS113"]
    assert len(found[0].trace) >= 2


@pytest.mark.parametrize("name", EXPLAINED)
def test_explained(name: str, tmp_path: Path) -> None:
    assert lint_files(tmp_path, {"lora_layer.py": EXPLAINED[name]}, codes=["LS113"]) == ()


def test_a_sum_that_another_rule_reports_is_left_to_it(tmp_path: Path) -> None:
    source = (
        LAYER
        + """
    def forward(self, x):
        if self.gated:
            return self.base_layer(x) + x @ self.lora_A.T @ self.lora_B.T * self.scaling
        return self.base_layer(x) + x @ self.lora_A.T @ self.lora_B.T
"""
    )
    assert [f.code for f in lint_files(tmp_path, {"lora_layer.py": source})] == ["LS102"]


def test_a_helper_may_leave_out_a_factor_of_one(tmp_path: Path) -> None:
    source = """
import torch


def delta_of(lora_up, lora_down, weight):
    lora_delta = torch.mm(lora_up, lora_down)
    if weight != 1.0:
        lora_delta *= weight
    return lora_delta


def unfuse(layer, names):
    total = None
    for name in names:
        if total is None:
            total = delta_of(layer.lora_B[name], layer.lora_A[name], layer.scaling[name])
        else:
            total += delta_of(layer.lora_B[name], layer.lora_A[name], layer.scaling[name])
    layer.weight.data -= total
"""
    assert lint_files(tmp_path, {"fuse_lora.py": source}, codes=["LS113"]) == ()


REPAIRED = {
    "training and evaluation": (
        "(delta) * self.scaling\n",
        "(delta) * self.scaling\n        else:\n            delta = delta * self.scaling\n",
    ),
    "delta returned by a helper": ("        return delta\n", "        return delta * self.scaling\n"),
    "delta returned beside its gate": (
        "            gate = None\n",
        "            gate = None\n            hidden = hidden * self.scaling\n",
    ),
    "module kinds of a merge function": (
        "up).permute(1, 0, 2, 3)\n",
        "up).permute(1, 0, 2, 3) * scale\n",
    ),
    "methods that return the product": (
        "self.lora_A.T @ self.lora_B.T\n",
        "self.lora_A.T @ self.lora_B.T * self.scaling\n",
    ),
    "siblings that inherit the scale": (
        "F.embedding(x, self.lora_A.T) @ self.lora_B.T\n",
        "F.embedding(x, self.lora_A.T) @ self.lora_B.T * self.scaling\n",
    ),
}
OTHER_CONDITIONS = {
    "the unscaled branch first": (
        """
    def forward(self, x):
        delta = x @ self.lora_A.T @ self.lora_B.T
        if not self.training:
            self.steps = 0
        else:
            delta *= self.scaling
        return self.base_layer(x) + delta
""",
        "self.steps = 0\n",
        "self.steps = 0\n            delta = delta * self.scaling\n",
    ),
    "a conditional expression": (
        """
    def forward(self, x):
        delta = x @ self.lora_A.T @ self.lora_B.T
        delta = delta * self.scaling if self.training else delta
        return self.base_layer(x) + delta
""",
        "else delta\n",
        "else delta * self.scaling\n",
    ),
    "alpha / rank on the spot": (
        """
    def lora_delta(self, x):
        delta = x @ self.lora_A.T @ self.lora_B.T
        if self.training:
            return delta * (self.lora_alpha / self.lora_rank)
        return delta

    def forward(self, x):
        return self.base_layer(x) + self.lora_delta(x)
""",
        "return delta\n",
        "return delta * (self.lora_alpha / self.lora_rank)\n",
    ),
}


@pytest.mark.parametrize("name", REPAIRED)
def test_repaired(name: str, tmp_path: Path) -> None:
    before, after = REPAIRED[name]
    source = ONE_SIDED[name]
    texts, left = fix_files(tmp_path, {"lora_layer.py": source})
    head, _, tail = source.rpartition(before)
    assert texts == {"lora_layer.py": head + after + tail}
    assert left == ()


@pytest.mark.parametrize("name", OTHER_CONDITIONS)
def test_other_conditions_are_repaired(name: str, tmp_path: Path) -> None:
    body, before, after = OTHER_CONDITIONS[name]
    source = LAYER + body
    texts, left = fix_files(tmp_path, {"lora_layer.py": source})
    head, _, tail = source.rpartition(before)
    assert texts == {"lora_layer.py": head + after + tail}
    assert left == ()


def test_a_scale_that_the_other_branch_made_is_not_repaired(tmp_path: Path) -> None:
    source = """\
def merge_lora(layers, lora_sd):
    for name, layer in layers.items():
        up = lora_sd[name + ".lora_up.weight"]
        down = lora_sd[name + ".lora_down.weight"]
        if layer.weight.dim() == 4:
            layer.weight.data += (up @ down)[..., None, None]
        else:
            scale = lora_sd[name + ".alpha"].item() / down.shape[0]
            layer.weight.data += (up @ down) * scale
"""
    assert all(
        item.fix is None
        for item in lint_files(tmp_path, {"lora_layer.py": source}, codes=["LS113", "LS310", "LS101"])
    )


MODE = """\
import torch
import torch.nn as nn
import torch.nn.functional as F


class LoraLinear(nn.Module):
    def __init__(self, inputs, outputs, r, alpha):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.lora_A = nn.Parameter(torch.empty(r, inputs))
        self.lora_B = nn.Parameter(torch.zeros(outputs, r))
        self.r = r
        self.scaling = alpha / r
        self.fast = False

    def start(self):
        self.fast = True
        u, s, v = torch.svd_lowrank(self.weight.data, self.r)
        lora_A = torch.diag(torch.sqrt(s)) @ v.t()
        lora_B = u @ torch.diag(torch.sqrt(s))
        self.lora_A.data = lora_A
        self.lora_B.data = lora_B
{taken}

    def forward(self, x):
        if self.fast:
            return F.linear(x, self.weight) + F.linear(F.linear(x, self.lora_A), self.lora_B)
        return F.linear(x, self.weight) + self.scaling * F.linear(F.linear(x, self.lora_A), self.lora_B)
"""


UNSCALED = ["LS101", "LS102", "LS113", "LS119"]


@pytest.mark.parametrize(
    ("taken", "count"),
    [
        ("        self.weight.data = self.weight.data - lora_B @ lora_A", 0),  # PiSSA: scale 1 puts it back
        ("", 1),
    ],
)
def test_a_mode_without_scale(taken: str, count: int, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora_layer.py": MODE.format(taken=taken)}, codes=UNSCALED)
    assert len(found) == count


HEIRS = """\
import torch
import torch.nn as nn


class LoraLayer:
    def __init__(self, r, alpha):
        self.r = r
        self.scaling = alpha / r

    def product(self):
        return self.lora_B @ self.lora_A

    def merge(self):
        for name in self.names:
            getattr(self, name).data += self.product() * self.scaling


class Plain(nn.Linear, LoraLayer):
    def forward(self, x):
        return nn.Linear.forward(self, x) + (x @ self.product().T) * self.scaling


class Padded(nn.Linear, LoraLayer):
    def {name}(self):
        return self.padded(self.lora_B @ self.lora_A)

    def padded(self, x):
        made = x.new_zeros((len(self.rows), x.shape[1]))
        made[self.rows] = x
        return made
"""


@pytest.mark.parametrize(("name", "count"), [("product", 0), ("delta_weight", 1)])
def test_what_an_heir_gives_its_ancestors_is_scaled_there(name: str, count: int, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora_layer.py": HEIRS.format(name=name)}, codes=["LS113"])
    assert len(found) == count
