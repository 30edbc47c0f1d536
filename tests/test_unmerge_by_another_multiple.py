"""LS221: merges and unmerges of stored factors, by the same number and by another."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

UNFUSE = """\
import torch


def unfuse_lora(layer):
    for name, times in list(layer.active.items()):
        layer.weight.data -= torch.mm(layer.lora_B[name], layer.lora_A[name]) * times
        layer.active.pop(name)
"""
WRONG = {
    "divided by the scaling": """

def reweight(layer, name, weight):
    layer.active[name] = weight
    layer.weight.data += layer.lora_B[name] @ layer.lora_A[name] * (weight / layer.scaling[name])
""",
    "another argument": """

def fuse(layer, name, strength, scaling):
    layer.active[name] = strength
    layer.weight.data.add_(layer.lora_B[name] @ layer.lora_A[name], alpha=strength * scaling)
""",
    "1 is kept": """

def fuse(layer, names, strength):
    for name in names:
        layer.weight.data += layer.lora_B[name] @ layer.lora_A[name] * strength
        layer.active[name] = 1.0
""",
}
RIGHT = {
    "the product is kept": """

def reweight(layer, name, weight):
    times = weight / layer.scaling[name]
    layer.active[name] = times
    layer.weight.data += layer.lora_B[name] @ layer.lora_A[name] * times
""",
    "the kept number is read again": """

def reweight(layer, name, weight):
    layer.active[name] = weight * layer.trained[name]
    layer.weight.data += layer.lora_B[name] @ layer.lora_A[name] * layer.active[name]
""",
    "the factors are not the stored ones": """

def fuse(layer, name, down, up, strength):
    layer.lora_A[name], layer.lora_B[name] = down, up * strength
    layer.active[name] = 1.0
    layer.weight.data += up @ down * strength
""",
    "another dictionary": """

def fuse(layer, name, strength, scaling):
    layer.shown[name] = strength
    layer.active[name] = strength * scaling
    layer.weight.data += layer.lora_B[name] @ layer.lora_A[name] * strength * scaling
""",
}


@pytest.mark.parametrize("name", WRONG)
def test_found(name: str, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora_fuse.py": UNFUSE + WRONG[name]}, codes=["LS221"])
    assert [finding.code for finding in found] == ["LS221"]


@pytest.mark.parametrize("name", RIGHT)
def test_silent(name: str, tmp_path: Path) -> None:
    assert lint_files(tmp_path, {"lora_fuse.py": UNFUSE + RIGHT[name]}, codes=["LS221"]) == ()


LAYER = """
import torch


class LoraLayer(torch.nn.Module):
    def __init__(self, base, rank, alpha, multiplier=1.0):
        super().__init__()
        self.base, self.scale, self.multiplier, self.merged = base, alpha / rank, multiplier, False
        self.lora_down = torch.nn.Linear(base.in_features, rank, bias=False)
        self.lora_up = torch.nn.Linear(rank, base.out_features, bias=False)

    def delta(self):
        return self.lora_up.weight @ self.lora_down.weight * self.scale

    def set_multiplier(self, value):
        {setter}

    def merge(self):
        if not self.merged:
            {merge}
            self.merged = True

    def unmerge(self):
        if self.merged:
            {unmerge}
            self.merged = False
"""
PLAIN = {
    "setter": "self.multiplier = float(value)",
    "merge": "self.base.weight.data += self.delta() * self.multiplier",
    "unmerge": "self.base.weight.data -= self.delta() * self.multiplier",
}
SET_WHILE_MERGED = {
    "set at any time": PLAIN,
    "in place": {
        **PLAIN,
        "merge": "self.base.weight.data.add_(self.delta(), alpha=self.multiplier)",
        "unmerge": "self.base.weight.data.sub_(self.delta(), alpha=self.multiplier)",
    },
    "the whole scale": {
        "setter": "self.scale = value",
        "merge": "self.base.weight.data += self.delta()",
        "unmerge": "self.base.weight.data -= self.delta()",
    },
}
SET_WITH_CARE = {
    "refused while merged": {
        **PLAIN,
        "setter": "assert not self.merged, 'merged'\n        self.multiplier = value",
    },
    "merged anew": {**PLAIN, "setter": "self.unmerge()\n        self.multiplier = value"},
    "a copy of what was merged": {
        **PLAIN,
        "merge": "self.put = self.multiplier\n            self.base.weight.data += self.delta() * self.put",
        "unmerge": "self.base.weight.data -= self.delta() * self.put",
    },
    "an adapter that is chosen": {
        **PLAIN,
        "setter": "self.active = value",
        "merge": "self.base.weight.data += self.delta() * self.multipliers[self.active]",
        "unmerge": "self.base.weight.data -= self.delta() * self.multipliers[self.active]",
    },
    "the number of nothing that is merged": {**PLAIN, "setter": "self.other = value"},
}


@pytest.mark.parametrize("name", SET_WHILE_MERGED)
def test_a_multiple_that_is_set_while_merged(name: str, tmp_path: Path) -> None:
    source = LAYER.format(**SET_WHILE_MERGED[name])
    found = lint_files(tmp_path, {"lora_layer.py": source}, codes=["LS221"])
    assert [(finding.code, finding.confidence) for finding in found] == [("LS221", "medium")]


@pytest.mark.parametrize("name", SET_WITH_CARE)
def test_a_multiple_that_is_set_with_care(name: str, tmp_path: Path) -> None:
    source = LAYER.format(**SET_WITH_CARE[name])
    assert lint_files(tmp_path, {"lora_layer.py": source}, codes=["LS221"]) == ()


OUTSIDE = """

class LoraSet:
    def __init__(self, model):
        self.layers = [module for module in model.modules() if isinstance(module, LoraLayer)]

    def set_all(self, value):
        for layer in self.layers:
            {body}
"""


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("layer.multiplier = float(value)", ["medium"]),
        ("layer.unmerge(); layer.multiplier = float(value)", []),
        ("layer.multiplier = layer.multiplier if layer.merged else float(value)", []),
        ("layer = LoraLayer(layer.base, 4, 8); layer.multiplier = float(value)", []),
    ],
)
def test_a_multiple_that_is_set_from_outside(body: str, expected: list[str], tmp_path: Path) -> None:
    plain = {**PLAIN, "setter": "self.other = value"}
    source = LAYER.format(**plain) + OUTSIDE.format(body=body)
    found = lint_files(tmp_path, {"lora_layer.py": source}, codes=["LS221"])
    assert [finding.confidence for finding in found] == expected


def test_a_strength_that_is_set_where_no_flag_tells_whether_it_is_merged(tmp_path: Path) -> None:
    source = """\
class LoraFragment:
    def __init__(self, model, table):
        self.model, self.table, self.strength = model, table, 1.0

    def set_strength(self, value):
        self.strength = value

    def delta(self, name):
        down, up, alpha = self.table[name]
        return self.strength * (alpha / down.shape[0]) * (up @ down)

    def insert(self):
        for name in self.table:
            self.model.get_parameter(name).add_(self.delta(name))

    def remove(self):
        for name in self.table:
            self.model.get_parameter(name).sub_(self.delta(name))
"""
    found = lint_files(tmp_path, {"lora_layer.py": source}, codes=["LS221"])
    assert [(item.span.start.row, item.confidence) for item in found] == [(18, "medium")]
    care = source.replace("self.strength = value", "self.remove()\n        self.strength = value")
    assert lint_files(tmp_path, {"lora_layer.py": care}, codes=["LS221"]) == ()
