"""LS228: methods that set a stored scale to 1, and those that may."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

LAYER = """\
class LoraLinear:
    def __init__(self, base, lora_A, lora_B, alpha, rank):
        self.base = base
        self.lora_A = lora_A
        self.lora_B = lora_B
        self.scale = self.kept = alpha / rank

    def forward(self, x):
        return self.base(x) + self.lora_B(self.lora_A(x)) * self.scale

"""
WRONG = {
    "enabled again": "    def enable(self, on):\n        self.scale = 0\n"
    "        if on:\n            self.scale = 1\n",
    "reset": "    def reset(self):\n        self.scale = 1.0\n",
}
RIGHT = {
    "put back": "    def enable(self):\n        self.scale = self.kept\n",
    "switched off": "    def disable(self):\n        self.scale = 0.0\n",
    "folded": "    def fold(self):\n        self.lora_B.weight.data *= self.scale\n"
    "        self.scale = 1.0\n",
    "for a while": "    def probe(self, x):\n        before = self.scale\n        self.scale = 1.0\n"
    "        found = self.forward(x)\n        self.scale = before\n        return found\n",
    "another adapter": "    def load(self, lora_A, lora_B):\n        self.lora_A = lora_A\n"
    "        self.lora_B = lora_B\n        self.scale = 1.0\n",
}


@pytest.mark.parametrize("name", WRONG)
def test_reset(name: str, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora_layer.py": LAYER + WRONG[name]}, codes=["LS228"])
    assert len(found) == 1


@pytest.mark.parametrize("name", RIGHT)
def test_silent(name: str, tmp_path: Path) -> None:
    assert not lint_files(tmp_path, {"lora_layer.py": LAYER + RIGHT[name]}, codes=["LS228"])


FUNCTION = """\
import torch


class Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, up, down, scale):
        ctx.scale = scale
        return up @ down * scale

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.scale, None, None


def merge(weight, lora_B, lora_A):
    return weight + Product.apply(lora_B, lora_A, 1.0)

"""


def test_the_context_of_a_call_is_no_layer(tmp_path: Path) -> None:
    assert not lint_files(tmp_path, {"lora_layer.py": FUNCTION + LAYER}, codes=["LS228"])
