"""Matrix products of LoRA functions, found by the syntax alone."""

from __future__ import annotations

import ast

import pytest
from matrix_products import LORA_WORD, products


def operations(source: str) -> list[tuple[int, str]]:
    return [(item.row, item.operation) for item in products(ast.parse(source), source)]


@pytest.mark.parametrize(
    "word",
    ["lora_A", "self.lora", "LoRALinear", "QLoRA", "qlora", "apply_lora", "loraA", "LoKrModule", "dora"],
)
def test_words(word: str) -> None:
    assert LORA_WORD.search(word)


@pytest.mark.parametrize(
    "word", ["exploration", "flora", "Dorado", "colorado", "kv_lora_rank", "q_lora_rank"]
)
def test_other_words(word: str) -> None:
    assert not LORA_WORD.search(word)


def test_operators_and_calls() -> None:
    source = """
def merge(weight, lora_a, lora_b):
    delta = lora_b @ lora_a
    delta @= weight
    torch.matmul(
        lora_b,
        lora_a,
    )
    weight.addmm_(lora_b, lora_a)
    F.linear(weight, lora_a)
    jnp.einsum("ij,jk->ik", lora_b, lora_a)
    torch.kron(lora_a, lora_b)
    return lora_b.mm(lora_a)
"""
    assert operations(source) == [
        (3, "@"), (4, "@"), (5, "matmul"), (9, "addmm"), (10, "linear"), (11, "einsum"), (12, "kron"),
        (13, "mm"),
    ]  # fmt: skip


def test_only_functions_that_speak_of_lora() -> None:
    source = """
def attention(q, k):
    return q @ k.T

def merge(b, a):
    "the LoRA of a layer"
    return b @ a

class LoRALayer:
    def forward(self, x):
        return x @ self.first @ self.second

class Attention:
    def forward(self, q, k):
        return q @ k.T
"""
    assert operations(source) == [(7, "@"), (11, "@"), (11, "@")]


def test_pairs_of_layers() -> None:
    source = """
class LoRALayer:
    def forward(self, x):
        return self.base(x) + self.up(self.act(self.down(x)))

class Other:
    def lora(self, x):
        return self.up(x)

class PerAdapter:
    def forward(self, x, name):
        return self.lora_B[name](self.lora_A[name](x))
"""
    assert operations(source) == [(4, "layer call")] * 2 + [(12, "layer call")] * 2


def test_a_pair_in_two_methods() -> None:
    source = """
class LoraPair:
    def first(self, x):
        return self.down(x)
    def second(self, x):
        return self.up(x)
"""
    assert operations(source) == [(4, "layer call"), (6, "layer call")]


def test_the_inner_function_is_the_owner() -> None:
    source = """
def patch(module, lora_a, lora_b):
    def forward(x):
        return module(x) + x @ lora_a @ lora_b
    module.forward = forward
"""
    found = products(ast.parse(source), source)
    assert [item.function for item in found] == ["patch.forward"] * 2


def test_no_linear_method_of_an_object() -> None:
    assert operations("def lora(self, x):\n    return self.linear(x, 1)\n") == []


def test_a_script() -> None:
    source = """
from lora import pairs
scores = q @ k
for lora_a, lora_b in pairs:
    delta = lora_b @ lora_a
"""
    assert operations(source) == [(3, "@"), (5, "@")]
    assert operations("from lora import pairs\nscores = q @ k\n") == []


def test_calls_that_are_no_layers() -> None:
    source = """
def lora(self, x):
    self.get_lora_a(x)
    return self.down_proj(self.act(self.up_proj(x)))
"""
    assert operations(source) == []
