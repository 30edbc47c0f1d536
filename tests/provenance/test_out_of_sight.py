"""What is out of sight is what its place, its class or its annotation says, and no more."""

from __future__ import annotations

import pytest

from lorascale_lint.knowledge.roles import gives_delta, holds_tensors
from tests.provenance.formulas import formula_of

LAYER = """
import torch
from torch import nn
from elsewhere import LoRAAdapter, LoRALayer, LoRALinear, Branch


class Layer(nn.Module):
    def __init__(self, base_layer, rank, alpha, kind):
        super().__init__()
        self.linear = base_layer
        self.scaling = alpha / rank
        self.adapter = {made}

    def forward(self, x):
        return self.linear(x) + self.adapter(x)
"""


@pytest.mark.parametrize("made", ["LoRALayer(rank, alpha)", "LoRAAdapter(base_layer.in_features, rank=rank)"])
def test_a_layer_of_lora_out_of_sight_gives_a_delta_beside_the_base(made: str) -> None:
    assert formula_of(LAYER.format(made=made)) == ["unknown"]


@pytest.mark.parametrize("made", ["LoRALinear(base_layer, rank)", "Branch(rank)", "kind(rank)"])
def test_what_may_hold_the_base_or_anything_gives_none(made: str) -> None:
    assert formula_of(LAYER.format(made=made)) == []


def test_classes_that_give_the_delta_alone() -> None:
    assert all(map(gives_delta, ("LoRALayer", "LoRAEinsumAdapter", "LoraAdapter", "DoRALayer")))
    assert not any(map(gives_delta, ("LoRALinear", "LoRAConv2dLayer", "Adapter", "LoraModel", "Layer")))


TEMPLATE = """
import torch
from torch import nn


class LoraBase(nn.Module):
    def __init__(self, org_module, rank, alpha):
        super().__init__()
        self.org_forward = org_module.forward
        self.scale = alpha / rank
        self.register_buffer("rank_mask", torch.ones(1, rank))

    def forward(self, x):
        hidden = self.{first}(x) * self.rank_mask
        return self.org_forward(x) + self.{second}(hidden) * self.scale

    def {first}(self, x):
        {body}

    def {second}(self, x):
        {body}
"""


@pytest.mark.parametrize(("first", "second"), [("_down", "_up"), ("lora_A", "lora_B")])
def test_methods_that_subclasses_out_of_sight_define_are_what_they_are_called(
    first: str, second: str
) -> None:
    for body in (
        'raise NotImplementedError(f"{self} has none")',
        '"""Of the subclass."""\n        raise NotImplementedError',
    ):
        source = TEMPLATE.format(first=first, second=second, body=body)
        assert formula_of(source) == ["alpha / rank"]


def test_methods_that_do_something_are_what_they_do() -> None:
    assert formula_of(TEMPLATE.format(first="_down", second="_up", body="return torch.relu(x)")) == []


def test_a_subclass_in_sight_says_more_than_a_name() -> None:
    heir = """

class Lora(LoraBase):
    def __init__(self, org_module, rank, alpha):
        super().__init__(org_module, rank, alpha)
        self.lora_down = nn.Linear(org_module.in_features, rank, bias=False)
        self.lora_up = nn.Linear(rank, org_module.out_features, bias=False)

    def _down(self, x):
        return self.lora_down(x)

    def _up(self, x):
        return self.lora_up(x) * self.scale
"""
    source = TEMPLATE.format(first="_down", second="_up", body="raise NotImplementedError") + heir
    assert formula_of(source) == ["alpha^2 / rank^2"]


EXPERTS = """
import torch
from torch import nn


class LoraExperts(nn.Module):
    def forward(self, x, index):
        base = self.base_layer.{base}
        lora_out = x @ self.lora_A[index] @ self.lora_B[index]
        return x @ base + self.scaling * lora_out
"""


@pytest.mark.parametrize("base", ["up_proj", "down_proj", "gate_up_proj", "w1_up"])
def test_layers_of_a_wrapped_block_are_no_factors(base: str) -> None:
    assert formula_of(EXPERTS.format(base=base)) == ["scaling"]


def test_factors_that_stand_beside_the_base_stay_factors() -> None:
    source = EXPERTS.format(base="weight").replace("self.lora_A[", "self.down_proj[")
    assert formula_of(source.replace("self.lora_B[", "self.up_proj[")) == ["scaling"]


TABLE = """
def merge(weight, lora_A, lora_B, scaling, adapter_weights{note}, name):
    weight = weight + lora_B @ lora_A * scaling
    return weight, lora_B @ adapter_weights[name] * scaling + weight
"""


def test_a_mapping_of_tensors_is_no_strength() -> None:
    """A product with a number is none, and with a tensor nobody knows it is half of one."""
    assert formula_of(TABLE.format(note="")) == ["scaling"]
    assert formula_of(TABLE.format(note=": dict[str, torch.Tensor]")) == ["scaling"]


def test_annotations_of_tensors() -> None:
    assert holds_tensors("Optional[Dict[str, torch.Tensor]]")
    assert not holds_tensors("dict[str, float]")
    assert not holds_tensors("torch.Tensor")


GATED = """
import torch
from torch import nn


class GatedLora(nn.Module):
    def __init__(self, base_layer, rank, alpha):
        super().__init__()
        self.base_layer = base_layer
        self.lora_A = nn.Linear(base_layer.in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, base_layer.out_features, bias=False)
        self.choose = nn.Linear(base_layer.in_features, 1)
        self.squash = nn.Sigmoid()
        self.scaling = alpha / rank

    def forward(self, x):
        lora_out = self.lora_B(self.lora_A(x)) * self.scaling
        return self.base_layer(x) + {gate} * lora_out
"""


@pytest.mark.parametrize(
    ("gate", "formula"),
    [
        ("torch.sigmoid(self.choose(x))", "alpha / rank * gate"),
        ("self.choose(x).softmax(-1)", "alpha / rank * gate"),
        ("self.squash(self.choose(x))", "alpha / rank * gate"),
        ("self.squash(lora_out * self.choose(x))", "unknown"),  # squashed, the delta is none
        ("torch.softmax(torch.tensor([0.3, 0.7]), 0)[0]", "unknown"),  # numbers that somebody picked
    ],
)
def test_what_a_layer_gives_for_the_input_is_a_gate(gate: str, formula: str) -> None:
    assert formula_of(GATED.format(gate=gate)) == [formula]


def test_attention_over_what_is_adapted_is_no_gate() -> None:
    source = """
import torch


def attend(q, k, v, lora_A, lora_B, scaling):
    v = v + v @ lora_A @ lora_B * scaling
    return torch.softmax(q @ k, -1) @ v
"""
    assert formula_of(source) == ["scaling"]


def test_a_layer_put_where_another_factor_was_is_that_factor() -> None:
    source = """
from torch import nn


class Variant:
    @staticmethod
    def init(module, name, config):
        old = module.lora_A[name]
        module.lora_A[name] = nn.Linear(old.in_features // config.group, old.out_features, bias=False)

    @staticmethod
    def forward(module, name, x, result):
        lora_A, lora_B = module.lora_A[name].weight, module.lora_B[name].weight
        return result + x @ lora_A.t() @ lora_B.t() * module.scaling[name]
"""
    assert formula_of(source) == ["scaling"]


def test_of_another_table_it_is_not() -> None:
    source = """
from torch import nn


class Variant:
    @staticmethod
    def init(module, name, config):
        module.heads[name] = nn.Linear(config.width, config.classes)

    @staticmethod
    def forward(module, name, x, result):
        return result + x @ module.heads[name].weight.t() @ module.lora_B[name].weight.t()
"""
    assert formula_of(source) == []


def test_what_a_table_of_another_module_holds_under_a_key_is_not_that_key() -> None:
    source = """
from tables import PAIRS

def merge(weight, lora_A, lora_B):
    first, second = PAIRS.get((lora_A, lora_B))
    return weight + second @ first
"""
    assert formula_of(source) == []
