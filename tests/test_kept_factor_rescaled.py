"""LS243: factors of a table, scaled in place and scaled as copies."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

BANK = """\
import torch


class LoraBank:
    def __init__(self, tensors, alphas):
        self.tensors, self.alphas = tensors, alphas

    def apply(self, model, strength=1.0):
        for name, module in model.named_modules():
            if name not in self.alphas:
                continue
            {taken}
            scale = self.alphas[name] / a.shape[0] * strength
            {scaled}
            module.weight.data += {product}
"""
TAKEN = 'a, b = self.tensors[name + ".lora_A"], self.tensors[name + ".lora_B"]'


@pytest.mark.parametrize(
    ("taken", "scaled", "product", "count"),
    [
        (TAKEN, "b *= scale", "b @ a", 1),
        (TAKEN, "a.mul_(scale)", "b @ a", 1),
        (
            TAKEN.replace("self.tensors[name +", "self.tensors.get(name +").replace('"]', '")'),
            "b *= scale",
            "b @ a",
            1,
        ),
        (TAKEN, "b = b * scale", "b @ a", 0),
        (TAKEN.replace('"]', '"].clone()'), "b *= scale", "b @ a", 0),
        (TAKEN.replace('"]', '"].float()'), "b *= scale", "b @ a", 0),
        (TAKEN, "pass", "scale * (b @ a)", 0),
        (TAKEN.replace("self.tensors", "model.tensors"), "b *= scale", "b @ a", 0),
    ],
)
def test_a_table_of_the_object(taken: str, scaled: str, product: str, count: int, tmp_path: Path) -> None:
    source = BANK.format(taken=taken, scaled=scaled, product=product)
    assert len(lint_files(tmp_path, {"lora_bank.py": source}, codes=["LS243"])) == count
