"""LS408: filters of a model's state, run on the names of what its layers learn."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

LAYER = """\
import torch
from torch import nn


class DoRALinear(nn.Linear):
    def __init__(self, in_features, out_features, r=4, alpha=8):
        super().__init__(in_features, out_features)
        self.lora_A = nn.Parameter(torch.zeros(r, in_features))
        self.lora_B = nn.Parameter(torch.zeros(out_features, r))
        self.magnitude = nn.Parameter(self.weight.norm(dim=1, keepdim=True))
        self.scaling = alpha / r

    def forward(self, x):
        weight = self.weight + self.scaling * (self.lora_B @ self.lora_A)
        return x @ (self.magnitude * weight / weight.norm(dim=1, keepdim=True)).T


"""
DISPLAY = """\
def {name}(model, path=None):
    found = {{key: value for key, value in model.state_dict().items() if {test}}}
    {then}
"""
LOOP = """\
def {name}(model, path):
    found = {{}}
    for key, value in model.named_parameters():
        if {test}:
            found[key] = value.detach().cpu()
    {then}
"""
SAVED = "torch.save(found, path)"
LOSES = [
    '"lora_A" in key or "lora_B" in key',
    'any(part in key for part in ("lora_A", "lora_B"))',
    '"lora_" in key',
]
KEEPS = [
    '"lora_" in key or "magnitude" in key',
    'any(part in key for part in ("lora_A", "lora_B", "magnitude"))',
    'not key.endswith(".weight")',
    "is_of_adapter(key)",
    '"lora_B" in key',  # no adapter is saved here
]


@pytest.mark.parametrize("test", LOSES)
@pytest.mark.parametrize("code", [DISPLAY, LOOP])
def test_a_filter_that_knows_the_factors_only(code: str, test: str, tmp_path: Path) -> None:
    source = LAYER + code.format(name="write", test=test, then=SAVED)
    assert [(f.code, f.confidence) for f in lint_files(tmp_path, {"m.py": source}, codes=["LS408"])] == [
        ("LS408", "high")
    ]


@pytest.mark.parametrize("test", KEEPS)
@pytest.mark.parametrize("code", [DISPLAY, LOOP])
def test_other_filters(code: str, test: str, tmp_path: Path) -> None:
    source = LAYER + code.format(name="write", test=test, then=SAVED)
    assert lint_files(tmp_path, {"m.py": source}, codes=["LS408"]) == ()


def test_what_is_for_no_file_is_less_sure(tmp_path: Path) -> None:
    source = LAYER + DISPLAY.format(name="count", test=LOSES[0], then="return len(found)")
    (found,) = lint_files(tmp_path, {"m.py": source}, codes=["LS408"])
    assert found.confidence == "medium"


def test_layers_without_a_magnitude_have_nothing_to_lose(tmp_path: Path) -> None:
    plain = LAYER.replace(
        "        self.magnitude = nn.Parameter(self.weight.norm(dim=1, keepdim=True))\n", ""
    )
    source = plain + DISPLAY.format(name="write", test=LOSES[0], then=SAVED)
    assert lint_files(tmp_path, {"m.py": source}, codes=["LS408"]) == ()
