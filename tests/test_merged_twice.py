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


EXPORT = """\
def export(model, out):
    for module in model.modules():
        if hasattr(module, "lora_A"):
            delta = module.lora_B["default"].weight @ module.lora_A["default"].weight
            module.base_layer.weight.data += module.scaling["default"] * delta
{between}
    {merge}.save_pretrained(out)
"""


@pytest.mark.parametrize(
    ("between", "merge", "count"),
    [
        ("", "model.merge_and_unload()", 1),
        ("            module.lora_B['default'].weight.data.zero_()", "model.merge_and_unload()", 0),
        ("", "model.unload()", 0),
        ("", "other.merge_and_unload()", 0),
    ],
)
def test_models_that_merge(between: str, merge: str, count: int, tmp_path: Path) -> None:
    source = EXPORT.format(between=between, merge=merge)
    assert len(lint_files(tmp_path, {"export_lora.py": source}, codes=["LS125"])) == count
