"""LS109: factors beside the delta that an unmerge does not take back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

IA3 = """
class IA3Linear(torch.nn.Module):
    def merge(self, name):
        vector = self.lora_scale_vectors[name]
        layer = self.base_layer
        layer.weight.data = torch.mul(layer.weight.data, vector)
        layer.bias.data = torch.mul(layer.bias.data, vector)

    def unmerge(self, name):
        vector = self.lora_scale_vectors[name]
        layer = self.base_layer
        layer.weight.data = torch.div(layer.weight.data, vector)
        {undo}
"""

DORA = """
class DoraLinear(torch.nn.Linear):
    def merge(self, name):
        delta = self.delta_weight(name)
        factor = self.lora_magnitude_vector[name].weight / self.norms[name]
        self.weight.data = factor{put} * (self.weight.data + delta)

    def unmerge(self, name):
        delta = self.delta_weight(name)
        factor = self.lora_magnitude_vector[name].weight / self.norms[name]
        self.weight.data = self.weight.data / factor{taken} - delta
"""


def codes(folder: Path, source: str) -> list[str]:
    return [finding.code for finding in lint_files(folder, {"lora_layer.py": source}, codes=["LS109"])]


@pytest.mark.parametrize(
    ("undo", "expected"),
    [
        ("layer.bias.data = torch.mul(layer.bias.data, vector).to(layer.bias.dtype)", ["LS109"]),
        ("layer.bias.data = (layer.bias.data * vector).contiguous()", ["LS109"]),
        ("layer.bias.data = torch.div(layer.bias.data, vector)", []),
        ("layer.bias.data = layer.bias.data * (1 / vector)", []),
        ("layer.bias.data.div_(vector)", []),
    ],
)
def test_products_that_are_repeated(undo: str, expected: list[str], tmp_path: Path) -> None:
    assert codes(tmp_path, IA3.format(undo=undo)) == expected


@pytest.mark.parametrize(
    ("put", "taken", "expected"),
    [
        (".view(-1, 1)", ".view(-1, 1)", []),
        (".view(-1, 1).t()", ".view(-1, 1)", ["LS109"]),
        (".unsqueeze(1)", ".unsqueeze(1).T", ["LS109"]),
        (".view(-1, 1).t()", ".view(-1, 1).T", []),
    ],
)
def test_magnitudes_that_are_turned(put: str, taken: str, expected: list[str], tmp_path: Path) -> None:
    assert codes(tmp_path, DORA.format(put=put, taken=taken)) == expected


MERGED = """
class AdaptedLinear(torch.nn.Module):
    def __init__(self, base, rank, lora_alpha):
        super().__init__()
        self.weight = base.weight
        self.lora_A = torch.nn.Parameter(torch.randn(rank, base.in_features))
        self.lora_B = torch.nn.Parameter(torch.zeros(base.out_features, rank))
        self.scaling = lora_alpha / rank

    def merge(self):
        {before}
        self.weight.data += self.scaling * self.lora_B @ self.lora_A
        {after}

    def unmerge(self):
        {first}
        self.weight.data -= self.scaling * self.lora_B @ self.lora_A
"""
FRESH = "torch.nn.init.normal_(self.lora_A)"


@pytest.mark.parametrize(
    ("before", "after", "first", "expected"),
    [
        ("pass", "self.lora_A.data.zero_(); self.lora_B.data.zero_()", "pass", ["LS109"]),
        ("pass", "torch.nn.init.zeros_(self.lora_B)", "self.merged = False", ["LS109"]),
        ("pass", f"{FRESH}; self.lora_B.data.zero_()", "pass", ["LS109"]),
        ("pass", "self.merged = True", "pass", []),
        ("self.lora_B.data.zero_()", "pass", "pass", []),
        ("pass", "self.other.data.zero_()", "pass", []),
        ("self.kept_B = self.lora_B.data.clone()", "self.lora_B.data.zero_()", "pass", []),
        ("pass", "self.lora_B.data.zero_()", "self.lora_B.data.copy_(self.saved)", []),
        ("pass", "self.lora_B.data.zero_()", "self.lora_B.data = self.saved", []),
    ],
)
def test_factors_that_a_merge_empties(
    before: str, after: str, first: str, expected: list[str], tmp_path: Path
) -> None:
    source = MERGED.format(before=before, after=after, first=first)
    assert codes(tmp_path, source) == expected
