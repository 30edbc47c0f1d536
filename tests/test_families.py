"""What the ledger says of classes that hold factors: their numbers, setters, and words for their scale."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorascale_lint.examination import examine_paths
from lorascale_lint.ledger.families import Family, families
from tests.projects import write_files

LAYER = """\
class LoRALinear:
    def __init__(self, base_layer, lora_rank=None, lora_alpha=None):
        self.base_layer = base_layer
        self.lora_A = None
        self.lora_B = None
        self.lora_rank = lora_rank
        self.lora_alpha = lora_alpha

    def set_lora_weights(self, A, B):
        self.lora_A = A
        self.lora_B = B

    def merge(self):
        self.base_layer.weight.data += self.lora_B @ self.lora_A
"""
SUBCLASS = """

class LoRAConv(LoRALinear):
    def forward(self, x):
        return self.base_layer(x) + x @ self.lora_A.T @ self.lora_B.T * (self.lora_alpha / self.lora_rank)
"""


def family_of(folder: Path, source: str) -> Family:
    ledger, failures = examine_paths(write_files(folder, {"lora_layer.py": source}), [])
    assert failures == []
    (found,) = families(ledger)
    return found


def test_fields_and_setters(tmp_path: Path) -> None:
    family = family_of(tmp_path, LAYER)
    assert [(field.name, field.role) for field in family.fields] == [
        ("lora_rank", "rank"),
        ("lora_alpha", "alpha"),
    ]
    alpha = family.field("alpha")
    assert alpha is not None
    assert alpha.unset_by is not None
    assert alpha.unset_by.spot.row == 7
    (setter,) = family.setters
    assert {side: store.spot.row for side, store in setter.factors.items()} == {"A": 10, "B": 11}
    assert setter.alpha_parameter is None
    assert [application.formula for application in family.applications] == ["1"]


def test_what_a_caller_gives_says_more_than_a_default(tmp_path: Path) -> None:
    family = family_of(tmp_path, LAYER + "\n\ndef make(base):\n    return LoRALinear(base, 8, 16)\n")
    alpha = family.field("alpha")
    assert alpha is not None
    assert alpha.unset_by is None


@pytest.mark.parametrize(
    ("before", "after", "source"),
    [
        ("", "", None),
        ("self.lora_alpha = lora_alpha", "self.scaling = lora_alpha / lora_rank", "self.scaling"),
        ("self.lora_alpha = lora_alpha", "self.gain = lora_alpha / lora_rank", "self.gain"),
        (
            "    def merge",
            "    @property\n    def ratio(self):\n"
            "        return self.lora_alpha / self.lora_rank\n\n    def merge",
            "self.ratio",
        ),
        (
            "self.lora_alpha = lora_alpha",
            "self.scaling = {}\n        self.scaling['a'] = lora_alpha / 8",
            None,
        ),
    ],
)
def test_words_for_the_scale(before: str, after: str, source: str | None, tmp_path: Path) -> None:
    assert family_of(tmp_path, LAYER.replace(before, after)).scale_source == source


def test_a_subclass_is_of_the_family(tmp_path: Path) -> None:
    family = family_of(tmp_path, LAYER + SUBCLASS)
    assert [cls.name for cls in family.members] == ["LoRALinear", "LoRAConv"]
    assert sorted(application.formula for application in family.applications) == ["1", "alpha / rank"]
