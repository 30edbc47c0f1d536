"""LS403, LS404, LS405: what stands on which side of DoRA's norm."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import pytest

from lorascale_lint.engine import lint
from lorascale_lint.ledger.renormed import renormed
from lorascale_lint.provenance.scale import Scale
from tests.projects import lint_files
from tests.provenance.formulas import ledger_of

CODES = ["LS403", "LS404", "LS405"]


def codes(folder: Path, **files: str) -> list[str]:
    """Codes of the findings in a small project."""
    paths = []
    for name, source in files.items():
        path = folder / f"{name}.py"
        path.write_text(source)
        paths.append(path)
    return [finding.code for finding in lint(paths, [], codes=CODES).findings]


STRENGTH_IN_FORWARD = """
class DoRAConv:
    def forward(self, x):
        delta = self.lora_up.weight @ self.lora_down.weight
        weight = self.base_layer.weight + self.multiplier * self.scaling * delta
        norm = torch.linalg.norm(weight, dim=1, keepdim=True)
        return F.linear(x, self.magnitude * (weight / norm))
"""

STRENGTH_IN_HELPER = """
def decompose(weight, dora_scale):
    norm = weight.transpose(0, 1).reshape(weight.shape[1], -1).norm(dim=1, keepdim=True).transpose(0, 1)
    return weight * (dora_scale / (norm + 1e-6))


def patch(weight, lora_up, lora_down, alpha, strength, dora_scale=None):
    delta = torch.mm(lora_up, lora_down) * (alpha / lora_down.shape[0])
    weight += strength * delta
    if dora_scale is not None:
        weight = decompose(weight, dora_scale)
    return weight
"""

STRENGTH_NORMALIZED = """
def merge_dora(weight, lora_delta, magnitude, strength):
    direction = F.normalize(weight + strength * lora_delta, dim=1)
    return magnitude * direction
"""

STRENGTH_ADDED_IN_PLACE = """
def dora_weight(base, lora_B, lora_A, lora_strength, magnitude_vector):
    merged = base.weight.add(lora_B @ lora_A, alpha=lora_strength)
    return merged.mul(magnitude_vector).div(torch.norm(merged, p=2, dim=1, keepdim=True))
"""


@pytest.mark.parametrize(
    "source", [STRENGTH_IN_FORWARD, STRENGTH_IN_HELPER, STRENGTH_NORMALIZED, STRENGTH_ADDED_IN_PLACE]
)
def test_strength_inside_the_norm(source: str, tmp_path: Path) -> None:
    assert codes(tmp_path, lora_dora=source) == ["LS403"]


def test_strength_inside_across_files(tmp_path: Path) -> None:
    helper, _, patch = STRENGTH_IN_HELPER.partition("\n\ndef patch")
    caller = "from lora_norm import decompose\n\n\ndef patch" + patch
    assert codes(tmp_path, lora_norm=helper, lora_patch=caller) == ["LS403"]


SCALE_IN_FINISH = """
class NetworkModule:
    def calc_scale(self):
        if self.dim is not None and self.alpha is not None:
            return self.alpha / self.dim
        return 1.0

    def apply_dora(self, updown, orig_weight):
        merged = updown + orig_weight
        norm = merged.reshape(merged.shape[0], -1).norm(dim=1).reshape(-1, 1)
        return merged * (self.dora_scale / norm) - orig_weight

    def finish(self, lora_updown, orig_weight):
        updown = lora_updown
        if self.dora_scale is not None:
            updown = self.apply_dora(updown, orig_weight)
        return updown * self.calc_scale() * self.multiplier()
"""

SCALE_BY_ARGUMENT = """
def apply_dora(org_weight, rebuild, dora_scale, scale):
    weight = org_weight + rebuild
    decomposed = weight / weight.norm(dim=1, keepdim=True) * dora_scale
    return org_weight + (decomposed - org_weight) * scale


def merge_lora(params, org_weight, strength):
    lora_up, lora_down, alpha, dora_scale = params
    scale = strength * alpha / lora_down.size(0)
    return apply_dora(org_weight, lora_up @ lora_down, dora_scale, scale)
"""

SCALE_STORED = """
class DoRALinear:
    def __init__(self, base_layer, lora_rank, lora_alpha):
        self.base_layer = base_layer
        self.scaling = lora_alpha / lora_rank

    def merged(self):
        weight = self.base_layer.weight
        adapted = weight + self.lora_B @ self.lora_A
        change = self.magnitude * adapted / torch.norm(adapted, dim=1, keepdim=True) - weight
        return weight + self.scaling * change
"""

SCALE_WITH_ADD = """
def merge_dora(weight, lora_delta, lora_alpha, lora_rank, magnitude):
    adapted = weight + lora_delta
    change = magnitude * adapted / adapted.norm(dim=1, keepdim=True) - weight
    return torch.mul(change, lora_alpha / lora_rank) + weight
"""


@pytest.mark.parametrize("source", [SCALE_IN_FINISH, SCALE_BY_ARGUMENT, SCALE_STORED, SCALE_WITH_ADD])
def test_trained_scale_outside_the_norm(source: str, tmp_path: Path) -> None:
    assert codes(tmp_path, lora_dora=source) == ["LS404"]


MEAN = """
class DoRALinear:
    def merge(self):
        weight = self.base_layer.weight + self.scaling * self.lora_B @ self.lora_A
        average = weight.abs().mean(dim=1, keepdim=True)
        return self.magnitude[:, None] * weight / average
"""

TORCH_SUM = """
def dora_weight(org_weight, lora_diff, dora_scale):
    adapted = org_weight + lora_diff
    return adapted * (dora_scale / torch.sum(adapted, dim=0, keepdim=True))
"""

BASE_NORM = """
def dora_weight(org_weight, lora_diff, dora_scale):
    norm = org_weight.norm(dim=1, keepdim=True)
    return dora_scale * (org_weight + lora_diff) / norm
"""

STD = """
class DoRAConv:
    def weight_of(self, lora_delta):
        adapted = self.org_weight + lora_delta
        return adapted.div(adapted.std(dim=1, keepdim=True)) * self.dora_magnitude
"""


@pytest.mark.parametrize("source", [MEAN, TORCH_SUM, BASE_NORM, STD])
def test_something_else_than_the_norm(source: str, tmp_path: Path) -> None:
    assert codes(tmp_path, lora_dora=source) == ["LS405"]


INTERPOLATED_RATIO = """
class LoConModule:
    def decomposed(self, weight, multiplier=1):
        scale = self.dora_scale / weight.norm(dim=1, keepdim=True)
        if multiplier != 1:
            scale = multiplier * (scale - 1) + 1
        return weight * scale

    def merged(self, multiplier):
        delta = self.lora_up.weight @ self.lora_down.weight * self.scale
        return self.decomposed(self.org_weight + delta, multiplier)
"""

INTERPOLATED_WEIGHT = """
def patch(weight, lora_diff, dora_scale, alpha, strength):
    lora_diff *= alpha
    calc = weight + lora_diff.type(weight.dtype)
    norm = calc.norm(dim=1, keepdim=True)
    calc *= (dora_scale / norm).type(weight.dtype)
    if strength != 1.0:
        calc -= weight
        weight += strength * calc
    else:
        weight[:] = calc
    return weight
"""

ACTIVATION = """
class DoRALinear:
    def forward(self, x, lora_B, lora_A, scaling):
        lora_weight = lora_B @ lora_A
        norm = torch.linalg.norm(self.weight + scaling * lora_weight, dim=1)
        ratio = (self.magnitude / norm).view(1, -1)
        delta = F.linear(F.linear(x, lora_A), lora_B) * scaling
        return (ratio - 1) * F.linear(x, self.weight) + ratio * delta
"""

REGULARISER = """
class LoRALinear:
    def penalty(self, magnitude, strength):
        weight = self.base_layer.weight + strength * (self.lora_B @ self.lora_A)
        return weight.norm() * strength
"""

OWN_STATISTIC = """
class MeanDecomposed(nn.Module):
    def __init__(self, org_weight):
        self.dora_scale = nn.Parameter(torch.mean(org_weight, dim=1, keepdim=True))

    def decompose(self, org_weight, lora_diff):
        weight = org_weight + lora_diff
        return weight / weight.mean(dim=1, keepdim=True) * self.dora_scale
"""

ROOT_MEAN_SQUARE = """
def init_dora(weight):
    magnitude = weight.norm(dim=1, keepdim=True)
    return magnitude / weight.mean()
"""


@pytest.mark.parametrize(
    "source",
    [INTERPOLATED_RATIO, INTERPOLATED_WEIGHT, ACTIVATION, REGULARISER, OWN_STATISTIC, ROOT_MEAN_SQUARE],
)
def test_correct_decompositions_are_silent(source: str, tmp_path: Path) -> None:
    assert codes(tmp_path, lora_dora=source) == []


BLOCK = """\
import torch
import torch.nn.functional as F
from torch import nn


def weight_norm(base_weight, lora_A, lora_B, scaling):
    return torch.linalg.norm(base_weight + scaling * (lora_B @ lora_A), dim=1)


class DoraLinear(nn.Module):
    def __init__(self, original, rank, alpha, weight=1.0, strength=1.0):
        super().__init__()
        self.scaling = {kept}
        self.strength = strength
        self.base_weight = original.weight.detach()
        self.lora_A = nn.Parameter(torch.empty(rank, original.in_features))
        self.lora_B = nn.Parameter(torch.zeros(original.out_features, rank))
        self.magnitude = nn.Parameter(weight_norm(self.base_weight, self.lora_A, self.lora_B, self.scaling))

    def forward(self, x):
        base = F.linear(x, self.base_weight)
        norm = weight_norm(self.base_weight, self.lora_A, self.lora_B, {given}).detach()
        share = (self.magnitude / norm).view(1, -1)
        delta = (x @ self.lora_A.T) @ self.lora_B.T * {given}
        return base + (share - 1) * base + share * delta
"""


def test_a_weight_that_the_constructor_folds_into_the_trained_scale(tmp_path: Path) -> None:
    fixed = BLOCK.format(kept="alpha / rank * weight", given="self.scaling")
    assert codes(tmp_path, lora_dora=fixed) == []


def test_a_strength_beside_the_trained_scale_in_the_norm(tmp_path: Path) -> None:
    chosen = BLOCK.format(kept="alpha / rank", given="self.scaling * self.strength")
    assert codes(tmp_path, lora_dora=chosen) == ["LS403"]


def test_ways_to_one_sum_share_a_norm_of_which_another_is_not_known() -> None:
    source = """
def dora_weight(base, lora_B, lora_A, lora_strength, dora_scale):
    merged = base.weight + lora_strength * (lora_B @ lora_A)
    return merged * (dora_scale / merged.norm(dim=1, keepdim=True))
"""
    (found,) = renormed(ledger_of(source))
    hidden = replace(found.norm, value=replace(found.norm.value, scale=Scale.of("", "out of sight")))
    assert replace(found, norm=hidden).normed is found.adapted
    elsewhere = replace(found.adapted, summed=replace(found.spot, node=ast.Pass()))
    assert replace(found, norm=hidden, adapted=elsewhere).normed is hidden.value


@pytest.mark.parametrize(("delta", "count"), [("b @ a", 1), ("s * (b @ a)", 0), ("b @ (s * a)", 0)])
def test_the_norm_of_a_sum_with_the_bare_delta(delta: str, count: int, tmp_path: Path) -> None:
    """LS405: the norm is that of the weight which it divides, alpha / rank included."""
    source = f"""\
import numpy as np


def decomposed_lora(weight, a, b, alpha, magnitude):
    s = alpha / a.shape[0]
    norm = np.linalg.norm(weight + {delta}, axis=1, keepdims=True)
    return magnitude / norm * (weight + s * (b @ a))
"""
    assert len(lint_files(tmp_path, {"dora.py": source}, codes=["LS405"])) == count
