"""LS125: layers that merge what their weight has already."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import LORA_CONV, lint_files

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


LAYER = (
    LORA_CONV
    + """
    def restore(self):
        self.conv.weight.data = self.backup

    def forward(self, x):
        {body}
        return self.conv(x)
"""
)
EACH_CALL = {
    "an assignment": "self.conv.weight.data = self.conv.weight.data + self.delta()",
    "in place": "self.conv.weight.data += self.delta()",
    "add_": "with torch.no_grad():\n            self.conv.weight.add_(self.delta())",
    "by a parameter": "if x.dim() == 4:\n            self.conv.weight.data += self.delta()",
}
PUT_BACK = {
    "a local": "weight = self.conv.weight.data + self.delta()\n        return torch.conv2d(x, weight)",
    "a flag": "if not self.merged:\n            self.conv.weight.data += self.delta()\n"
    "            self.merged = True",
    "returned before": "if self.merged:\n            return self.conv(x)\n"
    "        self.conv.weight.data += self.delta()\n        self.merged = True",
    "taken out": "self.conv.weight.data += self.delta()\n        out = self.conv(x)\n"
    "        self.conv.weight.data -= self.delta()\n        return out",
    "kept before": "kept = self.conv.weight.data.clone()\n        self.conv.weight.data += self.delta()\n"
    "        out = self.conv(x)\n        self.conv.weight.data = kept\n        return out",
    "a method": "self.restore()\n        self.conv.weight.data += self.delta()",
    "of a backup": "self.conv.weight.data = self.backup + self.delta()",
}


@pytest.mark.parametrize("body", EACH_CALL.values(), ids=EACH_CALL)
def test_a_forward_that_keeps_the_sum_adds_the_delta_at_each_call(body: str, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora_conv.py": LAYER.format(body=body)}, codes=["LS125"])
    assert [finding.code for finding in found] == ["LS125"]


@pytest.mark.parametrize("body", PUT_BACK.values(), ids=PUT_BACK)
def test_a_forward_that_puts_the_weight_back_is_silent(body: str, tmp_path: Path) -> None:
    assert lint_files(tmp_path, {"lora_conv.py": LAYER.format(body=body)}, codes=["LS125"]) == ()


FOLDED = """
import torch


class LoraDense(torch.nn.Module):
    def __init__(self, kernel, rank, alpha):
        super().__init__()
        self.kernel = torch.nn.Parameter(kernel, requires_grad=False)
        self.lora_down = torch.nn.Parameter(torch.randn(kernel.shape[0], rank))
        self.lora_up = torch.nn.Parameter(torch.zeros(rank, kernel.shape[1]))
        self.scale, self.folded = alpha / rank, False

    def forward(self, x):
        {ask}return x @ self.kernel + self.scale * (x @ self.lora_down @ self.lora_up)

    def fold(self):
        if self.folded:
            return
        self.kernel.data += self.scale * (self.lora_down @ self.lora_up)
        {after}
"""
ASKED = "if self.folded:\n            return x @ self.kernel\n        "


@pytest.mark.parametrize(
    ("ask", "after", "expected"),
    [
        ("", "self.folded = True", ["high"]),
        (ASKED, "self.folded = True", []),
        ("", "self.folded, self.scale = True, 0.0", []),
        ("", "self.folded = True\n        self.lora_up.data.zero_()", []),
        ("", "self.folded = True\n        self.lora_up = None", []),
        ("", "self.folded = True\n        return DenseOf(self.kernel)", []),
        ("", "print('folded')", []),  # nobody in sight calls it
    ],
)
def test_a_forward_that_never_asks_whether_it_is_merged(
    ask: str, after: str, expected: list[str], tmp_path: Path
) -> None:
    source = FOLDED.format(ask=ask, after=after)
    found = lint_files(tmp_path, {"lora_dense.py": source}, codes=["LS125"])
    assert [finding.confidence for finding in found] == expected


MODES = """
import torch
from torch import nn


class MergingLinear(nn.Linear):
    def __init__(self, n_in, n_out, rank=4, alpha=8.0):
        super().__init__(n_in, n_out)
        self.narrow = nn.Parameter(torch.empty(rank, n_in))
        self.widen = nn.Parameter(torch.zeros(n_out, rank))
        self.gain, self.merged = alpha / rank, False

    def update(self):
        return self.gain * (self.widen @ self.narrow)

    def train(self, mode=True):
        super().train(mode)
        if mode:
            if self.merged:
                self.weight.data -= self.update()
            self.merged = False
        {otherwise}:
            self.weight.data += self.update()
            self.merged = True
        return self

    def forward(self, x):
        y = super().forward(x)
        return y if self.merged else y + self.gain * (x @ self.narrow.T @ self.widen.T)
"""


@pytest.mark.parametrize(
    ("otherwise", "expected"), [("else", ["high"]), ("elif not self.merged", [])], ids=["each time", "once"]
)
def test_a_change_of_mode_merges_once(otherwise: str, expected: list[str], tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"merging.py": MODES.format(otherwise=otherwise)}, codes=["LS125"])
    assert [finding.confidence for finding in found] == expected


STAGES = """\
from peft import PeftModel


def continued(base, first, second):
    {merge}
    return PeftModel.from_pretrained({model}, {again})
"""
LOADED = "model = PeftModel.from_pretrained(base, first)"
MERGED = "merged = PeftModel.from_pretrained(base, first).merge_and_unload()"


@pytest.mark.parametrize(
    ("merge", "model", "again", "count"),
    [
        (MERGED, "merged", "first", 1),
        (
            "model = PeftModel.from_pretrained(base, first)\n    model = model.merge_and_unload()",
            "model",
            "first",
            1,
        ),
        (MERGED, "merged", "second", 0),
        (MERGED, "base", "first", 0),
        (f"{LOADED}\n    model = model.unload()", "model", "first", 0),
    ],
)
def test_an_adapter_on_top_of_itself(merge: str, model: str, again: str, count: int, tmp_path: Path) -> None:
    """Who goes on training factors starts from the base that they belong to."""
    source = STAGES.format(merge=merge, model=model, again=again)
    assert len(lint_files(tmp_path, {"stages.py": source}, codes=["LS125"])) == count


def test_an_adapter_that_another_branch_loads(tmp_path: Path) -> None:
    """LLaVA's loaders merge on each of two branches."""
    source = """\
from peft import PeftModel


def load(make, base, path, name):
    if "llava" in name:
        model = make(base)
        model = PeftModel.from_pretrained(model, path)
        model = model.merge_and_unload()
    else:
        model = make(base)
        model = PeftModel.from_pretrained(model, path)
        model = model.merge_and_unload()
    return model


def one_after_the_other(make, base, path):
    model = PeftModel.from_pretrained(make(base), path)
    model = model.merge_and_unload()
    compare(model)
    model = make(base)
    return PeftModel.from_pretrained(model, path)
"""
    assert lint_files(tmp_path, {"load.py": source}, codes=["LS125"]) == ()
