"""LS121: powers of alpha and rank that no training uses, and scales that only look like them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

LAYER = """\
import math
import torch
from torch import nn


class Lora(nn.Module):
    def __init__(self, base, rank, alpha):
        super().__init__()
        self.base = base
        self.rank = rank
        self.alpha = alpha
        self.scaling = alpha / rank
        self.lora_a = nn.Parameter(torch.randn(rank, base.in_features))
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, rank))
"""
WRONG = {
    "embedding of the whole product": """
    def forward(self, x):
        out = torch.einsum("ij,bsi->bsj", self.lora_b @ self.lora_a, x) / self.rank
        return x + self.base(x) + out * self.scaling
""",
    "a helper and its caller": """
    def half(self, x):
        return x @ self.lora_a.T * self.scaling

    def forward(self, x):
        return self.base(x) + self.half(x) @ self.lora_b.T * (self.alpha / self.rank)
""",
    "the alpha of the layer is left out": """
    def forward(self, x):
        return self.base(x) + x @ self.lora_a.T @ self.lora_b.T * (1.0 / self.rank)
""",
    "a mean over the rank beside the scale": """
    def merge(self):
        self.base.weight.data += torch.mm(self.lora_b, self.lora_a).mul(self.scaling).div(self.rank)
""",
}
RIGHT = {
    "split over both factors": """
    def forward(self, x):
        half = x @ self.lora_a.T * math.sqrt(self.scaling)
        return self.base(x) + half @ self.lora_b.T * math.sqrt(self.scaling)
""",
    "rsLoRA": """
    def forward(self, x):
        return self.base(x) + x @ self.lora_a.T @ self.lora_b.T * self.alpha / math.sqrt(self.rank)
""",
    "a spread of the start values": """
    def reset(self):
        spread = 1 / torch.sqrt(torch.tensor(self.rank).float())
        self.lora_a = nn.Parameter(torch.randn(self.rank, 8) * spread)

    def forward(self, x):
        return self.base(x) + x @ self.lora_a.T @ self.lora_b.T * self.scaling
""",
    "a user's alpha beside the trained one": """
    def merge(self, alpha):
        self.base.weight.data += torch.mm(self.lora_b, self.lora_a) * (self.alpha * alpha / self.rank)
""",
    "a literal alpha": """
    def forward(self, x):
        return self.base(x) + x @ self.lora_a.T @ self.lora_b.T * (16 / self.rank)
""",
    "the inverse taken out again": """
    def forward(self, x):
        out = x @ self.lora_a.T @ self.lora_b.T * self.scaling * self.scaling
        return self.base(x) + out / self.scaling
""",
}


@pytest.mark.parametrize("name", WRONG)
def test_found(name: str, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora_layer.py": LAYER + WRONG[name]}, codes=["LS121"])
    assert [finding.code for finding in found] == ["LS121"]


def test_one_over_the_rank_where_there_is_no_alpha(tmp_path: Path) -> None:
    source = LAYER.replace(", alpha)", ")").replace("        self.alpha = alpha\n", "")
    source = source.replace("        self.scaling = alpha / rank\n", "")
    body = WRONG["the alpha of the layer is left out"]
    assert lint_files(tmp_path, {"lora_layer.py": source + body}, codes=["LS121"]) == ()


@pytest.mark.parametrize("name", RIGHT)
def test_silent(name: str, tmp_path: Path) -> None:
    assert lint_files(tmp_path, {"lora_layer.py": LAYER + RIGHT[name]}, codes=["LS121"]) == ()


OWN_TENSOR = """
import numpy as np


class Array:
    def __init__(self, data, requires_grad=False):
        self.data = np.asarray(data, dtype=np.float32)
        self.requires_grad = requires_grad


class LoraLinear:
    def __init__(self, base, rank, alpha):
        self.base = base
        self.rank = rank
        self.alpha = alpha
        self.scaling = alpha / rank
        out_f, in_f = base.weight.data.shape
        start = np.random.randn(rank, in_f) / np.sqrt(rank)
        self.lora_A = Array(start.astype(np.float32), requires_grad=True)
        self.lora_B = Array(np.zeros((out_f, rank)), requires_grad=True)

    def merge(self):
        delta = self.lora_B.data @ self.lora_A.data{more}
        self.base.weight.data = self.base.weight.data + self.scaling * delta
"""


@pytest.mark.parametrize(("more", "count"), [("", 0), (" / np.sqrt(self.rank)", 1)])
def test_a_spread_of_the_start_values_in_a_tensor_class_of_the_project(
    more: str, count: int, tmp_path: Path
) -> None:
    source = OWN_TENSOR.format(more=more)
    assert len(lint_files(tmp_path, {"lora_layer.py": source}, codes=["LS121"])) == count


KINDS = """\
import torch
from torch import nn


class Adapted:
    def __init__(self, in_features, out_features):
        self.in_features, self.out_features = in_features, out_features
        self.r, self.scaling = {{}}, {{}}
        self.lora_A, self.lora_B = nn.ParameterDict({{}}), nn.ParameterDict({{}})
        self.lora_embedding_A, self.lora_embedding_B = nn.ParameterDict({{}}), nn.ParameterDict({{}})

    def update_rows(self, name, r, lora_alpha):
        self.r[name] = r
        self.{kind}A.update(nn.ParameterDict({{name: nn.Parameter(torch.zeros(r, self.in_features))}}))
        self.{kind}B.update(nn.ParameterDict({{name: nn.Parameter(torch.zeros(self.out_features, r))}}))
        self.scaling[name] = lora_alpha / r


class Ranked(Adapted):
    def update_layer(self, name, r, lora_alpha):
        self.r[name] = r
        self.lora_A.update(nn.ParameterDict({{name: nn.Parameter(torch.zeros(r, self.in_features))}}))
        self.lora_B.update(nn.ParameterDict({{name: nn.Parameter(torch.zeros(self.out_features, r))}}))
        self.scaling[name] = lora_alpha


class RankedLinear(nn.Linear, Ranked):
    def __init__(self, name, in_features, out_features, r, lora_alpha):
        nn.Linear.__init__(self, in_features, out_features)
        Ranked.__init__(self, in_features, out_features)
        self.update_layer(name, r, lora_alpha)

    def forward(self, x, name):
        delta = x @ self.lora_A[name].T @ self.lora_B[name].T * self.scaling[name] / self.r[name]
        return super().forward(x) + delta
"""


@pytest.mark.parametrize(("kind", "some"), [("lora_embedding_", False), ("lora_", True)])
def test_a_scale_that_is_kept_beside_other_factors(kind: str, some: bool, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora_layer.py": KINDS.format(kind=kind)}, codes=["LS121"])
    assert bool(found) == some
