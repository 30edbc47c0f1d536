"""LS125: a getter that gives the weight with its delta, and code that adds the delta to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

LAYER = """\
import torch


class LoRAProjection(torch.nn.Module):
    def __init__(self, weight, r, alpha):
        super().__init__()
        self.frozen = weight
        self.lora_A = torch.nn.Parameter(torch.zeros(r, weight.shape[1]))
        self.lora_B = torch.nn.Parameter(torch.zeros(weight.shape[0], r))
        self.scaling = alpha / r

    {decorator}
    def weight(self):
        if self.lora_B is not None:
            return self.frozen + self.lora_B @ self.lora_A * self.scaling
        return self.frozen

    def forward(self, x):
        return torch.nn.functional.linear(x, self.weight{call})

    def export(self, store):
        store["weight"] = {exported}
"""
DELTA = "self.lora_B @ self.lora_A * self.scaling"


def rows(folder: Path, exported: str, *, as_property: bool) -> list[int]:
    decorator, call = ("@property", "") if as_property else ("# a method", "()")
    source = LAYER.format(decorator=decorator, call=call, exported=exported)
    found = lint_files(folder, {"lora_layer.py": source}, codes=["LS125"])
    return [item.span.start.row for item in found]


@pytest.mark.parametrize(("own", "as_property"), [("self.weight", True), ("self.weight()", False)])
def test_the_delta_is_in_it_already(tmp_path: Path, own: str, as_property: bool):
    assert rows(tmp_path, f"{own} + {DELTA}", as_property=as_property) == [22]


@pytest.mark.parametrize("exported", ["self.weight", f"self.frozen + {DELTA}", f"self.weight - {DELTA}"])
def test_the_delta_is_added_once(tmp_path: Path, exported: str):
    assert rows(tmp_path, exported, as_property=True) == []


def test_a_product_out_of_sight_may_be_of_anything(tmp_path: Path) -> None:
    delta = "kernels.product(self.lora_B, self.lora_A)"
    source = LAYER.format(decorator="@property", call="", exported=f"self.weight + {delta}")
    source = source.replace(DELTA, delta).replace("import torch\n", "import torch\n\nimport kernels\n")
    assert not lint_files(tmp_path, {"lora_layer.py": source}, codes=["LS125"])
