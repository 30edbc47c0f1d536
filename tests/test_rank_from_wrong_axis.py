"""LS120: the rank read off the axis that is the layer's size, and what only looks like it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

LOADER = """\
from safetensors.torch import load_file
import torch


def blend(path, base):
    tensors = load_file(path)
    for key in tensors:
        if key.endswith(".lora_up.weight"):
            name = key[: -len(".lora_up.weight")]
            up, down = tensors[key], tensors[name + ".lora_down.weight"]
            alpha = tensors[name + ".alpha"].item()
            {body}
    return base
"""
WRONG = {
    "rows of up": "base[name] += (up @ down) * (alpha / up.shape[0])",
    "columns of down": "base[name] += torch.mm(up, down) * alpha / down.shape[1]",
    "size with an index": "base[name] += alpha / up.size(0) * torch.matmul(up, down)",
    "unpacked": "out, inner = up.shape; base[name].add_(up @ down, alpha=alpha / out)",
    "columns of a transposed down": "base[name] += (up @ down) * (alpha / down.T.shape[0])",
}
RIGHT = {
    "rows of down": "base[name] += (up @ down) * (alpha / down.shape[0])",
    "columns of up": "base[name] += (up @ down) * (alpha / up.shape[1])",
    "last axis of up": "base[name] += (up @ down) * (alpha / up.shape[-1])",
    "factors that lie the other way": "base[name] += (down @ up).T * (alpha / up.shape[0])",
    "rows of a transposed up": "base[name] += (up @ down) * (alpha / up.T.shape[0])",
    "axes that are given": "base[name] += torch.tensordot(up, down, dims=way) * (alpha / up.shape[0])",
    "a mean over the outputs": "base[name] += (up @ down) * 2 / up.shape[0]",
}


@pytest.mark.parametrize("name", WRONG)
def test_found(name: str, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora_loader.py": LOADER.format(body=WRONG[name])}, codes=["LS120"])
    assert [finding.code for finding in found] == ["LS120"]


@pytest.mark.parametrize("name", RIGHT)
def test_silent(name: str, tmp_path: Path) -> None:
    assert lint_files(tmp_path, {"lora_loader.py": LOADER.format(body=RIGHT[name])}, codes=["LS120"]) == ()


EITHER_WAY = """
            def product(one, two):
                {test}
                    return one @ two
                return (two @ one).T
            base[name] += product(up, down) * (alpha / {extent})"""


@pytest.mark.parametrize(
    ("test", "extent", "found"),
    [
        ("if one.shape[1] == two.shape[0]:", "down.shape[0]", ["medium"]),  # right for the usual layout
        ("if one.shape[1] == two.shape[0]:", "down.shape[-1]", ["medium"]),  # right for the other one
        ("if one.ndim == 2:", "down.shape[0]", ["medium"]),
    ],
)
def test_where_the_shapes_decide_it_is_a_question(
    test: str, extent: str, found: list[str], tmp_path: Path
) -> None:
    body = EITHER_WAY.format(test=test, extent=extent).strip()
    source = LOADER.format(body=body)
    lint = lint_files(tmp_path, {"lora_loader.py": source}, codes=["LS120"])
    assert [str(finding.confidence) for finding in lint] == found


OUTPUT_IS_CALLED_A = """\
def lora_delta(x, A, B, alpha):
    inner = (B @ x.T).T
    return (alpha / A.shape[{axis}]) * (A @ inner.T).T


def adapted(config, weights, base, x):
    A, B = weights
    return base(x) + lora_delta(x, A, B, config.alpha)
"""


@pytest.mark.parametrize(("axis", "codes"), [(1, []), (0, ["LS120"])])
def test_factors_by_other_names(axis: int, codes: list[str], tmp_path: Path) -> None:
    """The one that the activation meets first is called B."""
    found = lint_files(tmp_path, {"lora.py": OUTPUT_IS_CALLED_A.format(axis=axis)}, codes=["LS120"])
    assert [finding.code for finding in found] == codes


RECORD = """\
from dataclasses import dataclass
from typing import Optional

import torch


@dataclass
class Patch:
    up: torch.Tensor
    down: torch.Tensor
    alpha: Optional[float] = None

    @property
    def dim(self) -> int:
        return self.{extent}

    def delta(self, strength):
        scale = 1.0 if self.alpha is None else self.alpha / self.dim
        return (self.up @ self.down) * scale * strength


def collect(state):
    return {{
        name: Patch(state[name + ".lora_up.weight"], state[name + ".lora_down.weight"])
        for name in {{key.split(".lora_")[0] for key in state}}
    }}
"""


@pytest.mark.parametrize(
    ("extent", "count"),
    [("up.shape[0]", 1), ("down.size(1)", 1), ("up.shape[1]", 0), ("down.shape[0]", 0)],
)
def test_a_property_of_a_record(extent: str, count: int, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora_patch.py": RECORD.format(extent=extent)}, codes=["LS120"])
    assert len(found) == count
    assert all("`Patch.dim` is this extent" in step.message for one in found for step in one.trace[:1])


SLOTS = """\
import torch


class BatchedLoRA:
    def __init__(self, base_layer, slots, max_rank):
        self.base_layer = base_layer
        self.lora_a_stacked = torch.zeros(slots, max_rank, base_layer.in_features)
        self.lora_b_stacked = torch.zeros(slots, base_layer.out_features, max_rank)
        self.scalings = torch.zeros(slots)

    def set_lora(self, index, lora_a, lora_b, lora_alpha):
        self.lora_a_stacked[index, : lora_a.shape[0]].copy_(lora_a)
        self.lora_b_stacked[index, :, : lora_a.shape[0]].copy_(lora_b)
        self.scalings[index] = lora_alpha / {rank}

    def forward(self, x, indices):
        lora_a, lora_b = self.lora_a_stacked[indices], self.lora_b_stacked[indices]
        delta = torch.bmm(torch.bmm(x, lora_a.transpose(1, 2)), lora_b.transpose(1, 2))
        return self.base_layer(x) + delta * self.scalings[indices][:, None, None]
"""


@pytest.mark.parametrize("rank", ["lora_a.shape[0]", "lora_a.size(0)", "len(lora_a)"])
def test_rows_of_one_adapter_before_it_is_put_into_its_slot(rank: str, tmp_path: Path) -> None:
    assert lint_files(tmp_path, {"lora_slots.py": SLOTS.format(rank=rank)}) == ()


def test_columns_of_one_adapter_that_has_them_alone(tmp_path: Path) -> None:
    source = SLOTS.replace("lora_alpha / {rank}", "1.0") + (
        "\n\ndef merge(weight, lora_a, lora_b, alpha):\n"
        "    return weight + (lora_b @ lora_a) * (alpha / lora_a.shape[1])\n"
    )
    assert "LS120" in [f.code for f in lint_files(tmp_path, {"lora_slots.py": source})]


MADE = """
import torch
from torch import nn


class LoRALinear(nn.Module):
    def __init__(self, linear, in_dims, out_dims, rank, lora_alpha):
        super().__init__()
        self.linear, self.lora_alpha = linear, lora_alpha
        self.lora_a = nn.Parameter(torch.randn(in_dims, rank))
        self.lora_b = nn.Parameter(torch.zeros(rank, out_dims))

    @property
    def ratio(self):
        return self.lora_alpha / {extent}

    def forward(self, x):
        return self.linear(x) + self.ratio * ((x @ self.lora_a) @ self.lora_b)
"""


@pytest.mark.parametrize("extent", ["self.lora_a.shape[0]", "self.lora_b.shape[1]", "self.lora_a.size(0)"])
def test_a_size_that_the_layer_was_made_with_is_found(extent: str, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"layer.py": MADE.format(extent=extent)}, codes=["LS120"])
    assert [(finding.code, finding.trace[0].span.start.row) for finding in found] == [("LS120", 15)]


@pytest.mark.parametrize("extent", ["self.lora_a.shape[1]", "self.lora_b.shape[0]", "self.lora_a.size(-1)"])
def test_the_rank_that_the_layer_was_made_with_is_not(extent: str, tmp_path: Path) -> None:
    assert lint_files(tmp_path, {"layer.py": MADE.format(extent=extent)}, codes=["LS120"]) == ()
