"""LS118 on strengths that reach a delta twice, and on two strengths that are no error."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorascale_lint.engine import lint
from tests.projects import lint_files

LAYER = """
class LoraModule:
    def __init__(self, org_module, lora_down, lora_up, alpha, rank, multiplier=1.0):
        self.org_module = org_module
        self.lora_down = lora_down
        self.lora_up = lora_up
        self.scale = alpha / rank
        self.multiplier = multiplier

    def merge(self, strength=1.0):
        {body}
"""


def rows(body: str, folder: Path) -> list[int]:
    """Rows of LS118 in a layer whose merge is ``body``."""
    path = folder / "lora_layer.py"
    path.write_text(LAYER.format(body=body.replace("\n", "\n        ")))
    return [finding.span.start.row for finding in lint([path], [], codes=["LS118"]).findings]


@pytest.mark.parametrize(
    "body",
    [
        "up = self.lora_up.weight * self.multiplier\n"
        "self.org_module.weight.data += self.multiplier * (up @ self.lora_down.weight) * self.scale",
        "scales = (self.scale, self.multiplier)\n"
        "delta = (self.lora_up.weight @ self.lora_down.weight) * scales[0] * scales[1]\n"
        "self.org_module.weight.data.add_(delta, alpha=scales[1])",
        "parts = {'up': self.lora_up.weight, 'by': self.multiplier}\n"
        "delta = parts['by'] * (parts['up'] @ self.lora_down.weight) * self.scale\n"
        "self.org_module.weight.data += parts['by'] * delta",
    ],
)
def test_one_strength_twice(body: str, tmp_path: Path) -> None:
    assert len(rows(body, tmp_path)) == 1


@pytest.mark.parametrize(
    "body",
    [
        "delta = self.lora_up.weight @ self.lora_down.weight\n"
        "self.org_module.weight.data += self.multiplier * delta * self.scale",
        "by = strength * self.multiplier\n"
        "self.org_module.weight.data += by * (self.lora_up.weight @ self.lora_down.weight) * self.scale",
        "delta = self.multiplier * (self.lora_up.weight @ self.lora_down.weight) * self.scale\n"
        "self.org_module.weight.data += delta / self.multiplier * strength",
    ],
)
def test_two_strengths_and_one_taken_back(body: str, tmp_path: Path) -> None:
    assert rows(body, tmp_path) == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("alpha=alpha, strength=alpha", ["LS118"]),
        ("lora_alpha=strength, lora_scale=strength", ["LS118"]),
        ("alpha=alpha, strength=strength", []),
        ("strength=alpha", []),
        ("alpha=None, strength=alpha", []),
    ],
)
def test_one_number_for_two_parameters(given: str, expected: list[str], tmp_path: Path) -> None:
    source = "def apply(self, lora_weights, alpha=1.0, strength=1.0):\n"
    source += f"    self.apply_lora(lora_weights, {given})\n"
    findings = lint_files(tmp_path, {"lora_wrapper.py": source}, codes=["LS118"])
    assert [finding.code for finding in findings] == expected


NODE = """
import comfy.utils
import torch


class LoraNode:
    def load(self, model, sd, keys, strength_model, other):
        patches = {{}}
        for name, target in keys.items():
            up, down = sd[f"{{name}}.lora_up.weight"], sd[f"{{name}}.lora_down.weight"]
            scale = sd[f"{{name}}.alpha"].item() / down.shape[0]
            patches[target] = {patch}
        patched = model.clone()
        patched.add_patches(patches, {given})
        return patched
"""


@pytest.mark.parametrize(
    ("patch", "given", "count"),
    [
        ('("diff", (up @ down * (scale * strength_model),))', "strength_model", 1),
        ('("lora", (up * strength_model, down, scale * down.shape[0]))', "strength_model", 1),
        ("(torch.mm(up, down).mul(strength_model) * scale,)", "strength_patch=strength_model", 1),
        ('("diff", (up @ down * scale,))', "strength_model", 0),
        ('("diff", (up @ down * (scale * strength_model),))', "1.0", 0),
        ('("diff", (up @ down * (scale * other),))', "strength_model", 0),
        ('("lora", (up, down, sd[f"{name}.alpha"].item(), None))', "strength_model", 0),
    ],
)
def test_a_library_multiplies_again(patch: str, given: str, count: int, tmp_path: Path) -> None:
    source = NODE.format(patch=patch, given=given)
    assert len(lint_files(tmp_path, {"lora_node.py": source}, codes=["LS118"])) == count


RECORDS = """\
from dataclasses import dataclass


@dataclass
class Patch:
    strength: float
    diff: object


def load_lora(lora, names, strength):
    out = {{}}
    for name in names:
        up, down = lora[name + ".lora_up.weight"], lora[name + ".lora_down.weight"]
        scale = lora[name + ".alpha"].item() / down.shape[0]
        out[name] = (up @ down) * scale{folded}
    return out


def add(patches, deltas, strength):
    for name, diff in deltas.items():
        patches.setdefault(name, []).append(Patch(strength, diff))


def apply(weight, patches):
    for p in patches:
        weight = weight + {read}
    return weight


def load(patches, lora, names, strength):
    add(patches, load_lora(lora, names, strength), strength)
"""


@pytest.mark.parametrize(
    ("folded", "read", "expected"),
    [
        (" * strength", "p.strength * p.diff", ["medium"]),
        (" * strength", "p.diff", []),
        ("", "p.strength * p.diff", []),
    ],
)
def test_a_record_of_a_delta_and_its_strength(
    folded: str, read: str, expected: list[str], tmp_path: Path
) -> None:
    """What a record keeps beside its strength is multiplied by it where it is used, and so not before."""
    source = RECORDS.format(folded=folded, read=read)
    found = lint_files(tmp_path, {"lora_patches.py": source}, codes=["LS118"])
    assert [item.confidence for item in found] == expected


SLOTS = """\
class LoraSlots:
    def __init__(self, base, slots, rank):
        self.base = base
        self.lora_A = torch.zeros(slots, rank, base.in_features)
        self.lora_B = torch.zeros(slots, base.out_features, rank)
        self.weights = torch.ones(slots)

    def fill(self, i, a, b, alpha, weight=1.0):
        self.lora_A[i] = a
        self.lora_B[i] = b * (alpha / a.shape[0]){folded}
        self.weights[i] = weight

    def forward(self, x, i):
        return self.base(x) + self.weights[i] * ((x @ self.lora_A[i].T) @ self.lora_B[i].T)
"""


@pytest.mark.parametrize(("folded", "count"), [(" * weight", 1), ("", 0)])
def test_a_slot_that_keeps_the_strength_and_a_factor_with_it(folded: str, count: int, tmp_path: Path) -> None:
    """A number that is put into a place of a buffer is what that place multiplies by."""
    source = f"import torch\n\n\n{SLOTS.format(folded=folded)}"
    assert len(lint_files(tmp_path, {"lora_slots.py": source}, codes=["LS118"])) == count


MIXED = """
class LowRankAdapter:
    def __init__(self, lora_down, lora_up, alpha, rank):
        self.lora_down, self.lora_up, self.trained = lora_down, lora_up, alpha / rank

    def merge(self, weight, {name}):
        up = self.lora_up.weight * {name}
        weight.data += {by} * (up @ self.lora_down.weight){trained}
"""


@pytest.mark.parametrize(
    ("name", "trained", "by", "confidences"),
    [
        ("scale", "", "scale", ["medium"]),
        ("scale", " * self.trained", "scale", ["high"]),
        ("strength", "", "strength", ["high"]),
        ("scale", "", "1.0", []),
    ],
)
def test_a_number_that_may_be_any_beside_no_trained_scale(
    name: str, trained: str, by: str, confidences: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "lora_layer.py"
    path.write_text(MIXED.format(name=name, by=by, trained=trained))
    found = lint([path], [], codes=["LS118"]).findings
    assert [finding.confidence for finding in found] == confidences
