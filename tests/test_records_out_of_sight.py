"""LS210 on records that are put into a table and taken out of it elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

SOURCE = """\
import torch


class Pair:
    def __init__(self):
        self.lora_up = None
        self.lora_down = None
        self.lora_alpha = {start}


class Adapter:
    def __init__(self):
        self.layers = {{}}
        self.strength = 1.0


class Patcher:
    def __init__(self):
        self.adapters = []

    def read(self, tensors):
        adapter = Adapter()
        for key, value in tensors.items():
            layer, name = key.split(".", 1)
            pair = adapter.layers.setdefault(layer, Pair())
            if name == "alpha":
                pair.lora_alpha = value.item()
            elif name == "lora_up.weight":
                pair.lora_up = value
            else:
                pair.lora_down = value
            {more}
        return adapter

    def patch(self, module, layer):
        for adapter in self.adapters:
            pair = adapter.layers.get(layer)
            if pair is None:
                continue
            {late}
            scale = pair.lora_alpha / pair.lora_down.shape[0]
            module.weight.data += adapter.strength * scale * (pair.lora_up @ pair.lora_down)
"""


def rows(folder: Path, start: str, more: str = "pass", late: str = "pass") -> list[int]:
    source = SOURCE.format(start=start, more=more, late=late)
    found = lint_files(folder, {"lora_patch.py": source}, codes=["LS210"])
    return [item.span.start.row for item in found]


@pytest.mark.parametrize("start", ["1.0", "0.5", "16"])
def test_a_record_that_starts_as_a_number(tmp_path: Path, start: str):
    assert rows(tmp_path, start) == [8]


@pytest.mark.parametrize(
    ("start", "more", "late"),
    [
        ("None", "pass", "pair.lora_alpha = pair.lora_alpha or pair.lora_down.shape[0]"),
        ("1.0", "pair.lora_alpha = value.shape[0]", "pass"),
        ("1.0", "pass", "if not pair.has_alpha: pair.lora_alpha = pair.lora_down.shape[0]"),
    ],
)
def test_a_record_that_starts_unset_or_gets_its_rank(tmp_path: Path, start: str, more: str, late: str):
    assert rows(tmp_path, start, more, late) == []
