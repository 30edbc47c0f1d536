"""LS125: layers that merge what their weight has already."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

FOUND = {
    "new weight": "weight = layer.proj.weight.data.clone() + layer.proj.get_delta_weight(name)\n"
    "    layer.proj.weight.data = weight\n    layer.proj.merge()",
    "in a branch": "if name:\n        merged = layer.base_layer.weight.data + layer.get_delta_weight(name)\n"
    "        layer.base_layer.weight.data = merged\n        layer.merge(adapter_names=[name])",
}
SILENT = {
    "one or the other": "if safe:\n        merged = layer.base_layer.weight.data"
    " + layer.get_delta_weight(name)\n"
    "        layer.base_layer.weight.data = merged\n    else:\n        layer.merge(adapter_names=[name])",
    "another layer": "merged = layer.proj.weight.data + layer.proj.get_delta_weight(name)\n"
    "    layer.proj.weight.data = merged\n    layer.out.merge()",
    "only merged": "layer.proj.merge()",
}


def codes(folder: Path, body: str) -> list[str]:
    source = f"def merge_lora(layer, name, safe):\n    {body}\n"
    return [finding.code for finding in lint_files(folder, {"lora_model.py": source}, codes=["LS125"])]


@pytest.mark.parametrize("body", FOUND.values(), ids=FOUND)
def test_found(body: str, tmp_path: Path) -> None:
    assert codes(tmp_path, body) == ["LS125"]


@pytest.mark.parametrize("body", SILENT.values(), ids=SILENT)
def test_silent(body: str, tmp_path: Path) -> None:
    assert codes(tmp_path, body) == []
