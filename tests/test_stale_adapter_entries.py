"""LS304: which tables of adapters are filled again under one name, and which are emptied before."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import fix_files, lint_files

LOADER = """\
from safetensors.torch import load_file


class LoRAPipeline:
    def __init__(self, layers):
        self.layers = layers
        self.adapters = {{}}

    def load_adapter(self, name, path):
        {before}
        tensors = load_file(path)
        for key, tensor in tensors.items():
            {test}
            self.adapters[name][key] = tensor
        self.merge_lora(self.adapters[name])

    def forget(self, name):
        self.adapters.pop(name)

    def merge_lora(self, adapter):
        for name, layer in self.layers.items():
            layer.weight.data += adapter[name + ".lora_B"] @ adapter[name + ".lora_A"]
"""


def test_the_tensors_of_a_former_file_are_forgotten(tmp_path: Path) -> None:
    source = LOADER.format(before="pass", test="assert key not in self.adapters[name]")
    (found,) = lint_files(tmp_path, {"lora.py": source}, codes=["LS304"])
    assert [step.message for step in found.trace] == [
        "another file may be read here under the same name",
        "keys that are there already are asked for here",
    ]
    texts, left = fix_files(tmp_path, {"lora.py": source}, codes=["LS304"])
    load = "        tensors = load_file(path)\n"
    assert texts == {"lora.py": source.replace(load, f"{load}        self.adapters[name] = {{}}\n")}
    assert left == ()


@pytest.mark.parametrize(
    "before",
    [
        "self.adapters[name] = {}",
        "self.adapters[name].clear()",
        "self.adapters.pop(name, None)",
        "del self.adapters[name]",
        "self.adapters = {name: {}}",
        "self.forget(name)",
        "if name in self.adapters:\n            return",
    ],
)
def test_silent(before: str, tmp_path: Path) -> None:
    source = LOADER.format(before=before, test="pass")
    assert lint_files(tmp_path, {"lora.py": source}, codes=["LS304"]) == ()
