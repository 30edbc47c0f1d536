"""What products are: deltas, halves of one, others, by everything that the engine sees of them."""

from __future__ import annotations

import pytest

from lorascale_lint.ledger.applications import products
from tests.provenance.formulas import formula_of, ledger_of


def kinds(source: str) -> list[str]:
    return [product.kind for product in products(ledger_of(source))]


WALKED = """
def merge(base, lora_diff, scaling):
    for key, value in lora_diff.items():
        if {asked}:
            other = key.replace("lora_A", "lora_B")
            base[key] += (lora_diff[other] @ value) * scaling
"""


@pytest.mark.parametrize("asked", ["'lora_A' in key", "key.endswith('.lora_A.weight')"])
def test_keys_say_more_than_the_name_of_their_dictionary(asked: str) -> None:
    assert kinds(WALKED.format(asked=asked)) == ["delta"]


def test_an_entry_of_deltas_stays_one_where_its_key_says_nothing() -> None:
    source = """
def merge(base, lora_diff, scaling):
    for key, value in lora_diff.items():
        base[key] = base[key] + value * scaling
"""
    assert [apply.kind for apply in ledger_of(source).applies] == ["merge"]


def test_a_product_that_is_applied_with_alpha_over_rank_was_a_delta() -> None:
    source = """
import torch


def calculate_weight(weight, patches, lora_alpha, rank):
    for kind, entry in patches:
        if kind == "lora":
            weight += (lora_alpha / rank) * torch.mm(entry[0], entry[1])
    return weight
"""
    assert kinds(source) == ["delta"]


def test_a_product_beside_one_that_is_applied_stays_what_it_is() -> None:
    source = """
import torch


def attention_with_lora(x, weight, query, key, lora_A, lora_B, scaling):
    scores = query @ key
    return scores, x @ weight + x @ lora_A @ lora_B * scaling
"""
    assert kinds(source) == ["other", "other", "half", "delta"]


def test_products_of_a_vector_and_the_copy_of_a_factor_in_another_type() -> None:
    source = """
import torch


def lora_forward(out, x, lora_A, lora_B, lora_S):
    half = torch.mv(lora_A._fast_lora, x)
    out.addmv_(lora_B._fast_lora, half, alpha=lora_S)
    return out
"""
    assert kinds(source) == ["half", "delta"]
    assert [apply.kind for apply in ledger_of(source).applies] == ["forward"]


def test_a_layer_out_of_sight_with_a_rank_among_its_extents_is_a_factor() -> None:
    source = """
from torch import nn
from elsewhere import Base


class LoraModule(Base):
    def __init__(self, org_module, lora_dim, alpha):
        self.first = self.module(org_module.in_channels, lora_dim, 1, bias=False)
        self.second = self.module(lora_dim, org_module.out_channels, 1, bias=False)
        self.org_module, self.scale = org_module, alpha / lora_dim

    def forward(self, x):
        return self.org_module(x) + self.second(self.first(x)) * self.scale
"""
    assert kinds(source) == ["half", "delta"]
    assert formula_of(source) == ["alpha / rank"]


def test_another_call_with_a_rank_is_none() -> None:
    source = """
class LoraModule:
    def __init__(self, register, lora_dim, size):
        self.first = register(lora_dim, size)
        self.second = register(lora_dim, lora_dim, bias=False)

    def forward(self, x):
        return self.second(self.first(x))
"""
    assert "delta" not in kinds(source)


STARTS = {
    "a field": "module.lora_B, module.lora_A = Parameter(u[:, :r]), Parameter(v[:r])",
    "its data": "module.lora_B.data, module.lora_A.data = u[:, :r] * s[:r], v[:r]",
    "its weight": "module.lora_B.weight.data = u[:, :r]\n    module.lora_A.weight.data = v[:r]",
}


@pytest.mark.parametrize("way", STARTS)
def test_factors_that_start_as_parts_of_a_decomposition_are_factors(way: str) -> None:
    ending = ".weight" if "weight" in STARTS[way] else ""
    source = f"""
import torch
from torch.nn import Parameter


def reinit_lora(module, r):
    u, s, v = torch.linalg.svd(module.weight)
    {STARTS[way]}
    module.weight.data -= module.lora_B{ending} @ module.lora_A{ending} * module.scaling
"""
    assert kinds(source) == ["delta"]
    assert formula_of(source) == ["scaling"]


@pytest.mark.parametrize(
    ("put", "kind"),
    [
        ("self.base.kernel.assign_add(delta)", "merge"),
        ("self.base.kernel.assign(self.base.kernel + delta)", "merge"),
        ("self.base.kernel.assign_sub(delta)", "unmerge"),
        ("self.base.kernel.add_(delta)", "merge"),
        ("self.base.kernel.sub_(delta)", "unmerge"),
    ],
)
def test_methods_that_put_their_result_into_the_weight(put: str, kind: str) -> None:
    source = f"""
class LoraDense:
    def __init__(self, base, lora_a, lora_b, alpha, rank):
        self.base, self.lora_a, self.lora_b, self.scale = base, lora_a, lora_b, alpha / rank

    def change(self):
        delta = self.lora_a @ self.lora_b * self.scale
        {put}
"""
    assert formula_of(source) == ["alpha / rank"]
    assert [apply.kind for apply in ledger_of(source).applies] == [kind]


@pytest.mark.parametrize(
    ("divided", "expected"),
    [
        ("alpha / rank", ["alpha / rank"]),
        ("alpha / r", ["alpha / rank"]),
        ("alpha // rank", ["alpha / rank"]),
        ("beta / rank", []),
        ("1.0", []),
    ],
)
def test_a_layer_without_a_word_of_lora(divided: str, expected: list[str]) -> None:
    source = f"""
        from torch import nn

        class SideBranch(nn.Module):
            def __init__(self, host, rank, alpha, beta, r=8):
                super().__init__()
                self.host = host
                self.right = nn.Linear(host.in_features, rank, bias=False)
                self.left = nn.Linear(rank, host.out_features, bias=False)
                self.gain = {divided}

            def forward(self, x):
                return self.host(x) + self.gain * self.left(self.right(x))
    """
    assert formula_of(source) == expected


def test_a_part_with_one_scale_or_another_is_a_factor_still() -> None:
    source = """
        import torch

        def stack(first, second, ratio, flag):
            other = second["lora_A"] * (ratio if flag else 1.0)
            lora_A = torch.cat([first["lora_A"], other])
            return torch.cat([first["lora_B"], second["lora_B"]], dim=1) @ lora_A
    """
    assert kinds(source) == ["delta"]


@pytest.mark.parametrize(
    ("make", "product"),
    [
        ("self.add_weight(shape={shape}, name='{name}', initializer='{start}')", "ops.matmul({one}, {two})"),
        ("self.add_weight('{name}', {shape}, initializer='{start}')", "{one} @ {two}"),
        ("self.param('{name}', initializers.{start}, {shape})", "{one} @ {two}"),
    ],
    ids=["keras", "an older keras", "flax"],
)
def test_weights_that_a_framework_makes_are_known_by_their_shape(make: str, product: str) -> None:
    enter = make.format(shape="(width, self.rank)", name="enter", start="he_normal")
    leave = make.format(shape="(self.rank, self.units)", name="leave", start="zeros")
    inner = product.format(one="x", two="self.enter")
    source = f"""
        from keras import initializers, layers, ops

        class AdaptedDense(layers.Layer):
            def __init__(self, units, rank=4, alpha=16.0):
                super().__init__()
                self.units, self.rank, self.gain = units, rank, alpha / rank

            def build(self, input_shape):
                width = input_shape[-1]
                self.kernel = self.add_weight(shape=(width, self.units), name="kernel")
                self.enter = {enter}
                self.leave = {leave}

            def call(self, x):
                y = ops.matmul(x, self.kernel)
                return y + self.gain * {product.format(one=inner, two="self.leave")}

            def fused_kernel(self):
                return self.kernel + {product.format(one="self.enter", two="self.leave")}
    """
    assert formula_of(source) == ["alpha / rank", "1"]
