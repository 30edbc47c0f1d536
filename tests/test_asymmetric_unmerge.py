"""LS109: merges that are not taken back, and inverses that only look different."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

LAYER = """\
import torch
from torch import nn


class LoRALinear(nn.Module):
    def __init__(self, base_layer, lora_A, lora_B, lora_rank, lora_alpha):
        super().__init__()
        self.base_layer = base_layer
        self.lora_A = lora_A
        self.lora_B = lora_B
        self.lora_alpha = lora_alpha
        self.lora_rank = lora_rank
        self.scaling = lora_alpha / lora_rank

    def lora_delta(self):
        return self.lora_B @ self.lora_A * self.scaling
"""
MERGE = """
    def merge(self):
        self.base_layer.weight.data += self.lora_delta()
"""

ASYMMETRIC = {
    "strength on the merge alone": """
    def merge(self, strength=1.0):
        self.base_layer.weight.data += self.lora_delta() * strength

    def unmerge(self):
        self.base_layer.weight.data -= self.lora_delta()
""",
    "another formula": """
    def merge(self):
        self.base_layer.weight.data.add_(self.lora_B @ self.lora_A, alpha=self.lora_alpha / self.lora_rank)

    def unmerge(self):
        self.base_layer.weight.data -= self.lora_B @ self.lora_A * (self.lora_alpha / self.lora_rank**0.5)
""",
    "transposed in one branch of one method": """
    def train(self, mode=True):
        if mode:
            self.base_layer.weight.data -= self.lora_delta().T
        else:
            self.base_layer.weight.data += self.lora_delta()
""",
    "added again": MERGE
    + """
    def unmerge(self):
        self.base_layer.weight.data += self.lora_delta()
""",
    "subtraction dropped": MERGE
    + """
    def unmerge(self):
        self.base_layer.weight.data.sub(self.lora_delta())
""",
    "subtraction bound and dropped": MERGE
    + """
    def unmerge(self):
        weight = self.base_layer.weight.data - self.lora_delta()
        self.merged = False
""",
    "helper's result dropped": """
    def compose(self, weight, delta):
        return weight + delta * self.scaling

    def decompose(self, weight, delta):
        return weight - delta * self.scaling

    def reset_adapter(self):
        self.decompose(self.base_layer.weight.data, self.lora_B @ self.lora_A)
        self.merged = False
""",
    "result of an object of unknown class dropped": """
    def compose(self, weight, delta):
        return weight + delta * self.scaling

    def com_inv(self, weight, delta):
        return weight - delta * self.scaling


class IA3(nn.Module):
    def com_inv(self, weight, delta):
        return weight / delta


class LoRAHolder(nn.Module):
    def reset_adapter(self):
        lora = self.loras[self.merged]
        lora.com_inv(self.weight.data, lora.lora_delta())
        self.merged = None
""",
    "backup that is no copy": """
    def merge(self):
        self.backup = self.base_layer.weight.data
        self.base_layer.weight.data += self.lora_delta()

    def unmerge(self):
        self.base_layer.weight.data = self.backup
""",
    "backup of a method before": """
    def keep_before_lora(self):
        self.saved = self.base_layer.weight.detach()

    def fuse(self):
        self.base_layer.weight.data.add_(self.lora_delta())

    def unfuse(self):
        self.base_layer.weight.data.copy_(self.saved)
""",
    "two functions of one file": """

def merge_lora(layer, lora_A, lora_B, lora_alpha, rank):
    layer.weight.data += lora_B @ lora_A * (lora_alpha / rank)


def unmerge_lora(layer, lora_A, lora_B, lora_alpha, rank):
    layer.weight.data -= lora_B @ lora_A * (lora_alpha / rank**0.5)
""",
}

SYMMETRIC = {
    "the same scale by another name": """
    def merge(self):
        self.base_layer.weight.data += self.lora_B @ self.lora_A * (self.lora_alpha / self.lora_rank)

    def unmerge(self):
        self.base_layer.weight.data -= self.lora_delta()
""",
    "transposed on both sides by a flag": """
    def turned(self, weight):
        return weight.T if self.fan_in_fan_out else weight

    def merge(self):
        self.base_layer.weight.data += self.turned(self.lora_delta())

    def unmerge(self):
        self.base_layer.weight.data -= self.turned(self.lora_delta())
""",
    "the strength that the merge kept": """
    def merge(self, strength=1.0):
        self.strength = strength
        self.base_layer.weight.data += self.lora_delta() * strength

    def unmerge(self):
        self.base_layer.weight.data -= self.lora_delta() * self.strength
""",
    "a copy": """
    def merge(self):
        self.backup = self.base_layer.weight.data.clone()
        self.base_layer.weight.data += self.lora_delta()

    def unmerge(self):
        self.base_layer.weight.data = self.backup
""",
    "a merge that makes a new tensor": """
    def merge(self):
        self.backup = self.base_layer.weight.data
        self.base_layer.weight.data = self.base_layer.weight.data + self.lora_delta()

    def unmerge(self):
        self.base_layer.weight.data = self.backup
""",
    "a difference that is checked": MERGE
    + """
    def unmerge(self):
        weight = self.base_layer.weight.data - self.lora_delta()
        if not torch.isfinite(weight).all():
            raise ValueError("not finite")
        self.base_layer.weight.data = weight
""",
    "a difference that is returned": MERGE
    + """
    def unmerged_weight(self):
        weight = self.base_layer.weight.data - self.lora_delta()
        return {"weight": weight}
""",
    "a helper that works in place": """
    def take_back(self, weight, delta):
        weight.sub_(delta)
        return weight - 0

    def unmerge(self):
        self.take_back(self.base_layer.weight.data, self.lora_delta())
""",
    "a result that is stored": """
    def com_inv(self, weight, delta):
        return weight - delta * self.scaling


class LoRAHolder(nn.Module):
    def reset_adapter(self):
        lora = self.loras[self.merged]
        self.weight.data = lora.com_inv(self.weight.data, lora.lora_delta())
        self.merged = None
""",
    "a helper that tests and is tested": """
    def fits(self, need, more):
        return self.free >= need + more

    def merge_into(self, folder, need, more):
        if not self.fits(need, more):
            return None
        return folder
""",
    "a helper whose sum is tested": """
    def left(self, weight, delta):
        return weight - delta

    def unmerge(self):
        while self.left(self.base_layer.weight.data, self.lora_delta()):
            break
""",
    "an in-place sum of a local": """
    def unmerge(self):
        weight = self.base_layer.weight.data
        weight -= self.lora_delta()
""",
    "merge of another weight": """
    def merge(self):
        self.base_layer.weight.data += self.lora_delta()

    def unmerge(self):
        self.base_layer.weight_t.data -= self.lora_delta().T
""",
    "an unmerge by a negative strength": """
    def merge(self, sign=1):
        self.base_layer.weight.data += sign * self.lora_delta()

    def unmerge(self):
        self.merge(sign=-1)
""",
}


@pytest.mark.parametrize("name", ASYMMETRIC)
def test_asymmetric(name: str, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora_layer.py": LAYER + ASYMMETRIC[name]}, codes=["LS109"])
    assert [finding.code for finding in found] == ["LS109"]
    assert len(found[0].trace) >= 2


@pytest.mark.parametrize("name", SYMMETRIC)
def test_symmetric(name: str, tmp_path: Path) -> None:
    assert lint_files(tmp_path, {"lora_layer.py": LAYER + SYMMETRIC[name]}, codes=["LS109"]) == ()


def test_one_mechanism_one_finding(tmp_path: Path) -> None:
    """An unmerge without the trained scale of its sibling is LS101's."""
    unmerge = "\n    def unmerge(self):\n        self.base_layer.weight.data -= self.lora_B @ self.lora_A\n"
    source = LAYER + MERGE + unmerge
    assert [finding.code for finding in lint_files(tmp_path, {"lora_layer.py": source})] == ["LS101"]
