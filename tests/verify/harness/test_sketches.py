"""What the analysis tells the harness of a project."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorascale_lint.verify.harness import sketches as sketching
from lorascale_lint.verify.harness.agreement import Agreement, compare
from lorascale_lint.verify.harness.description import Action, Role, Sketch, as_json, read
from lorascale_lint.verify.harness.sketches import sketches_of

LAYER = """
import torch
from torch import nn

class LoRALinear(nn.Module):
    def __init__(self, inner, r, lora_alpha):
        super().__init__()
        self.inner = inner
        self.lora_A = nn.Parameter(torch.randn(r, inner.in_features))
        self.lora_B = nn.Parameter(torch.zeros(inner.out_features, r))
        self.scaling = lora_alpha / r

    def merge(self):
        self.inner.weight.data += self.lora_B @ self.lora_A * self.scaling

    def split(self):
        self.inner.weight.data -= self.lora_B @ self.lora_A * self.scaling

    def forward(self, x):
        return self.inner(x) + x @ self.lora_A.T @ self.lora_B.T * self.scaling
"""
LOADER = """
def merge(weight, lora, name, strength=1.0):
    down, up = lora[name + ".lora_down.weight"], lora[name + ".lora_up.weight"]
    return add(weight, down, up, lora[name + ".alpha"] / down.shape[0] * strength)

def add(target, first, second, number):
    return target + second @ first * number
"""


def sketches(tmp_path: Path, source: str) -> dict[tuple[str, Action], Sketch]:
    (tmp_path / "program.py").write_text(source)
    return {(item.place.name, item.place.action): item for item in sketches_of(tmp_path)}


def test_methods_of_a_class_are_sorted_by_what_they_do(tmp_path: Path) -> None:
    found = sketches(tmp_path, LAYER)
    assert set(found) == {
        ("LoRALinear.merge", Action.MERGE),
        ("LoRALinear.split", Action.UNMERGE),
        ("LoRALinear.forward", Action.FORWARD),
    }
    forward = found["LoRALinear.forward", Action.FORWARD]
    assert (forward.merge, forward.unmerge) == ("merge", "split")
    assert forward.place.owner == "LoRALinear"
    assert {item.place.formula for item in found.values()} == {"alpha / rank"}


def test_roles_are_those_of_what_was_given(tmp_path: Path) -> None:
    (add,) = sketches(tmp_path, LOADER).values()
    roles = dict(add.roles)
    assert (roles["first"], roles["second"]) == (Role.A, Role.B)
    assert add.place.file == "program.py"


def test_a_function_that_is_given_different_things_has_no_roles(tmp_path: Path) -> None:
    source = LOADER + "\ndef other(weight, lora_A, lora_B):\n    return add(weight, lora_B, lora_A, 1.0)\n"
    (add,) = sketches(tmp_path, source).values()
    assert "first" not in dict(add.roles)


def test_a_sketch_goes_through_json(tmp_path: Path) -> None:
    found = tuple(sketches(tmp_path, LAYER).values())
    assert read(as_json(found)) == found


@pytest.mark.parametrize(
    ("mapped", "observed", "scale_given", "said"),
    [
        ("alpha / rank", "alpha / rank", False, Agreement.AGREE),
        ("alpha / rank * strength", "alpha / rank", False, Agreement.AGREE),
        ("alpha / rank^(1/2)", "alpha / sqrt(rank)", False, Agreement.AGREE),
        ("multiplier", "1", False, Agreement.AGREE),
        ("multiplier", "alpha / rank", True, Agreement.AGREE),
        ("multiplier", "alpha / rank", False, Agreement.DIFFER),
        ("multiplier", "alpha", False, Agreement.AGREE),
        ("alpha / rank", "1", False, Agreement.DIFFER),
        ("2 * alpha / rank", "alpha / rank", False, Agreement.DIFFER),
        ("-1 * alpha / rank", "-1 * alpha / rank", False, Agreement.AGREE),
        ("alpha / rank | 1", "1", False, Agreement.AGREE),
        ("alpha / rank | unknown", "1", False, Agreement.ONE_KNOWN),
        ("scaling^2", "alpha**2 / rank**2", False, Agreement.AGREE),
        ("scaling", "alpha**2 / rank**2", False, Agreement.DIFFER),
    ],
)
def test_map_and_number_are_compared(mapped: str, observed: str, scale_given: bool, said: Agreement) -> None:
    assert compare(mapped, observed, scale_given=scale_given) is said


def test_several_processes_see_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, source in {
        "layer": LAYER,
        "loader": LOADER,
        "heir": "from layer import LoRALinear\n" + LAYER,
    }.items():
        (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.setattr(sketching, "_MANY", 100)
    alone = sketches_of(tmp_path)
    monkeypatch.setattr(sketching, "_MANY", 1)
    monkeypatch.setattr(sketching, "_processors", lambda: 2)
    assert sketches_of(tmp_path) == alone
    assert len(alone) > 4
