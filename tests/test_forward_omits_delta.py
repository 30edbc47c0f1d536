"""LS115: what counts as leaving the delta out of a replaced forward, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_rule_examples import apply, findings

SOURCE = """\
from torch import nn


class LoRALinear(nn.Module):
    def __init__(self, base_layer, lora_scaling):
        self.base_layer = base_layer
        self.lora_scaling = lora_scaling
        self.lora_A = None
        self.lora_B = None
        self.merged = False

    def set_lora_weights(self, lora_A, lora_B):
        self.lora_A = lora_A
        self.lora_B = lora_B

    def forward(self, x):
        lora_A = self.lora_A
        if not self.merged:
            # the delta of this rank
            delta = x @ lora_A.T @ self.lora_B.T
            out, bias = self.base_layer(x)
            return out + delta * self.lora_scaling, bias
        else:
            return self.base_layer(x)

    def extra(self, x):
        return x @ self.lora_A.T @ self.lora_B.T * self.lora_scaling

    def plain(self, x):
        return x

    def merge(self):
        self.base_layer.weight.data += self.lora_scaling * (self.lora_B @ self.lora_A)
        self.merged = True


class {name}({bases}):
{body}
"""
GATHERED = """\
    def forward(self, x):
        output = self.base_layer.quant_method.apply(self.base_layer, x)
        {more}
        return all_gather(output), None
"""


def source(more: str = "pass", name: str = "GatheredLoRALinear", bases: str = "LoRALinear") -> str:
    return SOURCE.format(name=name, bases=bases, body=GATHERED.format(more=more))


@pytest.mark.parametrize(
    "more", ["pass", "output = output * 2", "x = self.plain(x)", "if self.training: pass", "self.seen = x"]
)
def test_a_forward_without_delta_fires(more: str, tmp_path: Path) -> None:
    (found,) = findings(source(more), tmp_path)
    assert found.code == "LS115"
    repaired = apply(source(more), found)
    assert "        if self.lora_A is not None and not self.merged:\n" in repaired
    assert "            output = output + self.lora_delta(x)\n" in repaired
    assert "            return out + self.lora_delta(x), bias\n" in repaired
    assert "# the delta of this rank" in repaired
    compile(repaired, "repaired", "exec")
    assert findings(repaired, tmp_path) == ()


@pytest.mark.parametrize(
    "more",
    [
        "output = output + self.extra(x)",
        "output = output + x @ self.lora_A.T @ self.lora_B.T * self.lora_scaling",
        "output = add_lora(self, output, x)",
        "output = super().forward(x)[0]",
        "output = self.kernel(output, x)  # of nobody knows where\n        register(self)",
        "return LoRALinear.forward(self, x)",
    ],
)
def test_a_delta_that_may_be_added_is_silent(more: str, tmp_path: Path) -> None:
    assert findings(source(more), tmp_path) == ()


def test_a_base_out_of_sight_is_silent(tmp_path: Path) -> None:
    assert findings(source(bases="LoRALinear, vendor.Kernel"), tmp_path) == ()


def test_a_forward_that_is_refused_is_silent(tmp_path: Path) -> None:
    body = "    def forward(self, x):\n        raise NotImplementedError"
    assert findings(SOURCE.format(name="Embedding", bases="LoRALinear", body=body), tmp_path) == ()


def test_names_that_nothing_sets_are_replaced(tmp_path: Path) -> None:
    text = source("if self.set_lora:\n            output = self.apply_lora(output, x)")
    (found,) = findings(text, tmp_path)
    assert any("nothing ever sets `self.set_lora`" in step.message for step in found.trace)
    repaired = apply(text, found)
    assert "self.set_lora:" not in repaired
    assert "output = output + self.lora_delta(x)" in repaired


def test_no_repair_where_the_base_has_another_form(tmp_path: Path) -> None:
    text = source().replace(
        "            return self.base_layer(x)", "            return self.base_layer(x), lora_A"
    )
    found = [item for item in findings(text, tmp_path) if item.code == "LS115"]
    assert [item.fix for item in found] == [None]


ANOTHER = "output = self.base_layer.quant_method.apply(self.base_layer, x)"


@pytest.mark.parametrize(
    ("more", "repaired"),
    [
        ("output = self.plain(output)\n        output = output.contiguous()", True),
        (ANOTHER, False),
        (f"if self.training:\n            {ANOTHER}", False),
        (f"other {ANOTHER.removeprefix('output ')}\n        output = other", False),
    ],
)
def test_the_delta_is_added_where_all_that_is_given_comes_from(
    more: str, repaired: bool, tmp_path: Path
) -> None:
    found = [item for item in findings(source(more), tmp_path) if item.code == "LS115"]
    assert [item.fix is not None for item in found] == [repaired]
