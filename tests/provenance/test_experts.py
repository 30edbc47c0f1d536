"""Experts that a router weighs, rows of adapters, parts of a fused layer, and functions made of functions."""

from __future__ import annotations

import pytest

from lorascale_lint.ledger.applications import applications
from tests.provenance.formulas import formula_of, ledger_of

EXPERTS = """
import torch
from torch import nn
import torch.nn.functional as F


class LoraExperts(nn.Module):
    def __init__(self, base, count, r, alpha):
        super().__init__()
        self.base = base
        self.choose = nn.Linear(base.in_features, count)
        self.lora_A = nn.Parameter(torch.zeros(count, base.in_features, r))
        self.lora_B = nn.Parameter(torch.zeros(count, r, base.out_features))
        self.scaling = alpha / r

    def forward(self, x, attended):
        {body}
"""


@pytest.mark.parametrize(
    ("body", "formula"),
    [
        (
            """share = F.softmax(self.choose(x), dim=-1)
        share = share / share.sum(-1, keepdim=True)
        for i in range(3):
            x = x + share[:, i, None] * (x @ self.lora_A[i] @ self.lora_B[i]) * self.scaling
        return x""",
            "alpha / rank * gate",
        ),
        (
            """best, at = torch.topk(self.choose(x).softmax(-1), 2)
        found = torch.einsum("bi,eir,ero->beo", x, self.lora_A, self.lora_B)[:, at]
        return self.base(x) + (found * best[..., None]).sum(1) * self.scaling""",
            "alpha / rank * gate",
        ),
        (
            """share = torch.softmax(self.choose(x), -1)
        inner = torch.einsum("bi,eir->ber", x, self.lora_A)
        return self.base(x) + torch.einsum("ber,ero,be->bo", inner, self.lora_B, share) * self.scaling""",
            "alpha / rank * gate",
        ),
        (
            """share = torch.sigmoid(self.choose(x))
        first = torch.einsum("be,eir->bir", share, self.lora_A)
        second = torch.einsum("ero->ro", self.lora_B) if x is None else self.lora_B[0]
        return self.base(x) + x.bmm(first).bmm(second) * self.scaling""",
            "alpha / rank * gate",
        ),
        (
            """first = torch.einsum("be,eir->bir", (attended, self.lora_A))
        return self.base(x) + x.bmm(first) @ self.lora_B[0] * self.scaling""",
            "unknown",
        ),
        (
            """found = torch.stack([x @ a @ b for a, b in zip(self.lora_A, self.lora_B)], dim=-2)
        share = self.choose(x).softmax(-1)
        return self.base(x) + torch.einsum("bn,bnd->bd", share, found) * self.scaling""",
            "alpha / rank * gate",
        ),
        (
            """found = torch.stack([x @ a @ b for a, b in zip(self.lora_A, self.lora_B)], dim=-2)
        share = torch.sigmoid(self.choose(x)).unsqueeze(-2)
        return self.base(x) + torch.matmul(share, found).squeeze(-2) * self.scaling""",
            "alpha / rank * gate",
        ),
        (  # attention over the outputs of an adapter
            """found = x @ self.lora_A[0] @ self.lora_B[0]
        return self.base(x) + torch.softmax(x @ attended.T, -1) @ found * self.scaling""",
            "alpha / rank",
        ),
        (  # which adapter each row has is no gate
            """found = torch.einsum("bi,be,eir,ero->bo", x, attended, self.lora_A, self.lora_B)
        return self.base(x) + found * self.scaling""",
            "alpha / rank",
        ),
        (  # nobody knows what weighs them
            """found = (x @ self.lora_A @ self.lora_B) * attended
        return self.base(x) + found * self.scaling""",
            "unknown",
        ),
    ],
)
def test_shares_of_experts(body: str, formula: str) -> None:
    assert formula_of(EXPERTS.format(body=body)) == [formula]


FUSED = """
import torch
from torch import nn


class LoraQkv(nn.Module):
    def __init__(self, qkv, dim, r, alpha):
        super().__init__()
        self.qkv = qkv
        self.lora_a = nn.Linear(dim, r, bias=False)
        self.lora_b = nn.Linear(r, 3 * dim, bias=False)
        self.scaling = alpha / r

    def forward(self, x, q, k, v):
        {body}
"""


@pytest.mark.parametrize(
    "body",
    [
        """both = self.lora_b(self.lora_a(x)).reshape(2, 3, 3, 4).permute(2, 0, 3, 1)
        of_q, of_k, of_v = both.unbind(0)
        return q + self.scaling * of_q, k""",
        """q, k, v = self.qkv(x).chunk(3, dim=-1)
        of_q, *rest = (self.lora_b(self.lora_a(x)) * self.scaling).chunk(3, dim=-1)
        of_q, of_k, of_v = (self.lora_b(self.lora_a(x)) * self.scaling).chunk(3, dim=-1)
        return torch.cat([q + of_q, k, v], dim=-1)""",
    ],
)
def test_parts_of_a_delta_are_that_delta(body: str) -> None:
    assert formula_of(FUSED.format(body=body)) == ["alpha / rank"]


WIDE = """
import torch
from torch import nn
import torch.nn.functional as F


class {name}(nn.Module):
    def __init__(self, base, r, alpha):
        super().__init__()
        self.base = base
        self.{first} = nn.Linear({dims})
        self.{second} = nn.Linear({back})
        self.scaling = alpha / r

    def forward(self, x):
        return x + self.{second}({inner})


def merge(weight, lora_A, lora_B, alpha, r):
    return weight + lora_B @ lora_A * (alpha / r)
"""


@pytest.mark.parametrize(
    ("name", "first", "second", "dims", "inner", "expected"),
    [
        ("Mlp", "up_proj", "down_proj", "base.dim, base.inner", "self.up_proj(x)", []),
        (
            "Mlp",
            "up_proj",
            "down_proj",
            "base.dim, base.inner",
            "F.silu(self.up_proj(x)) * self.up_proj(x)",
            [],
        ),
        ("Block", "qkv_proj", "o_proj", "dim, base.inner", "self.qkv_proj(x)", []),  # `dim` is no rank here
        ("Layer", "down", "up", "base.dim, r", "F.relu(self.down(x))", []),  # a bottleneck
        ("Layer", "down", "up", "base.dim, r", "self.down(x)", ["1"]),
        ("Layer", "up", "down", "base.dim, r", "self.up(x)", ["1"]),  # the rank says more than the names
        ("Layer", "lora_up", "lora_down", "base.dim, base.inner", "self.lora_up(x)", ["1"]),
    ],
)
def test_feed_forward_blocks_beside_lora(
    name: str, first: str, second: str, dims: str, inner: str, expected: list[str]
) -> None:
    back = ", ".join(reversed(dims.split(", ")))
    source = WIDE.format(name=name, first=first, second=second, dims=dims, back=back, inner=inner)
    assert formula_of(source) == [*expected, "alpha / rank"]


def test_layers_of_a_share_of_the_rank_are_factors() -> None:
    source = """
    from torch import nn

    class Expert(nn.Module):
        def __init__(self, wide, narrow):
            super().__init__()
            self.mlp = nn.Linear(wide, narrow, bias=False)

        def forward(self, x):
            return self.mlp(x)

    class LoraLayer(nn.Module):
        def __init__(self, base, count, r, lora_alpha):
            super().__init__()
            self.base = base
            share = r // count
            self.first = nn.ModuleList(Expert(base.in_features, share) for _ in range(count))
            self.second = nn.ModuleList(Expert(share, base.out_features) for _ in range(count))
            self.scaling = lora_alpha / r

        def forward(self, x):
            y = self.base(x)
            for one, two in zip(self.first, self.second):
                y = y + two(one(x)) * self.scaling
            return y
    """
    assert formula_of(source) == ["alpha / rank"]


@pytest.mark.parametrize(
    "body",
    [
        "F.linear(F.linear(x, self.second.weight), self.first.weight)",
        "self.base.weight @ self.first.weight @ self.second.weight",  # over the rank, from the other side
    ],
)
def test_extents_say_over_what_is_summed(body: str) -> None:
    source = f"""
    from torch import nn
    import torch.nn.functional as F

    class LoraLayer(nn.Module):
        def __init__(self, base, rank, lora_alpha):
            super().__init__()
            self.base, self.scaling = base, lora_alpha / rank
            self.first = nn.Linear(rank, base.out_features, bias=False)
            self.second = nn.Linear(base.in_features, rank, bias=False)

        def forward(self, x):
            return self.base(x) + ({body}) * self.scaling
    """
    assert formula_of(source) == ["alpha / rank"]


def test_a_slot_for_each_adapter_holds_what_is_put_into_it() -> None:
    source = """
    import torch

    class LoraSlots:
        def __init__(self, count, r, wide):
            self.lora_A = torch.zeros(count, r, wide)
            self.lora_B = torch.zeros(count, wide, r)
            self.factors = torch.ones(count)

        def fill(self, at, a, b, alpha, rank):
            self.lora_A[at] = a
            self.lora_B[at] = b
            self.factors[at] = alpha / rank

        def run(self, y, x, ids):
            inner = torch.einsum("bi,bri->br", x, self.lora_A[ids])
            return y + torch.einsum("br,bor->bo", inner, self.lora_B[ids]) * self.factors[ids, None]
    """
    assert formula_of(source) == ["alpha / rank"]


@pytest.mark.parametrize("wrap", ["jax.vmap(one)", "jax.jit(jax.vmap(one, in_axes=(0, 0, 0, None)))"])
def test_functions_of_functions(wrap: str) -> None:
    source = f"""
    import jax

    def one(x, a, b, factor):
        return (x @ a) @ b * factor

    def lora(y, x, lora_A, lora_B, alpha, rank, at):
        return y + {wrap}(x, lora_A[at], lora_B[at], alpha / rank)
    """
    assert formula_of(source) == ["alpha / rank"]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("checkpoint(self._delta, x, use_reentrant=False)", ["alpha / rank"]),
        ("torch.utils.checkpoint.checkpoint(lambda it: self._delta(it) * 2, x)", ["2 / rank * alpha"]),
        ("checkpoint(self.dropout, x)", []),
    ],
)
def test_what_is_run_by_a_library(call: str, expected: list[str]) -> None:
    source = f"""
    import torch
    from torch import nn
    from torch.utils.checkpoint import checkpoint

    class LoraLayer(nn.Module):
        def __init__(self, base, r, alpha):
            super().__init__()
            self.base, self.dropout = base, nn.Dropout(0.1)
            self.lora_A = nn.Linear(base.in_features, r, bias=False)
            self.lora_B = nn.Linear(r, base.out_features, bias=False)
            self.scaling = alpha / r

        def _delta(self, x):
            return self.lora_B(self.lora_A(x)) * self.scaling

        def forward(self, x):
            return self.base(x) + {call}
    """
    assert formula_of(source) == expected


@pytest.mark.parametrize(
    ("first", "second", "kind", "expected"),
    [
        ("lora_down", "lora_up", "Dense", ["alpha / rank"]),
        ("lora_a", "lora_b", "DenseGeneral", ["alpha / rank"]),
        ("query", "value", "Dense", []),
    ],
)
def test_layers_made_in_place_are_what_they_are_called(
    first: str, second: str, kind: str, expected: list[str]
) -> None:
    source = f"""
    import flax.linen as nn

    class LoraDense(nn.Module):
        features: int
        rank: int
        alpha: float

        @nn.compact
        def __call__(self, x):
            inner = nn.Dense(self.rank * 2, use_bias=False, name="{first}")(x)
            outer = nn.{kind}(features=self.features, use_bias=False, name="{second}")(inner)
            return nn.Dense(self.features, name="base")(x) + outer * (self.alpha / self.rank)
    """
    assert formula_of(source) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def mix(state, k, v, a, b):\n    return state + state @ a @ b", []),
        ("def mix(weight, a, b, scaling):\n    return weight + b @ a * scaling", ["scaling"]),
        ("def lora(weight, a, b):\n    return weight + b @ a", ["1"]),
        ("def mix(weight, A, B):\n    return weight + B @ A", ["1"]),
    ],
)
def test_letters_of_a_function_that_has_nothing_of_lora(text: str, expected: list[str]) -> None:
    """As the recurrence of RWKV, beside whose code stands its low-rank decay."""
    beside = "\n\ndef decay(x, w_lora_A, w_lora_B):\n    return (x @ w_lora_A) @ w_lora_B\n"
    assert formula_of(text + beside) == expected


LAYERS = {
    "haiku, whose parameters are known by the names that they are given": """
        import haiku as hk

        class LoraLinear(hk.Module):
            def __init__(self, wide, rank, alpha):
                super().__init__()
                self.wide, self.rank, self.alpha = wide, rank, alpha

            def __call__(self, x):
                kernel = hk.get_parameter("w", [x.shape[-1], self.wide])
                first = hk.get_parameter("lora_a", [x.shape[-1], self.rank])
                second = hk.get_parameter("lora_b", [self.rank, self.wide])
                return x @ kernel + (x @ first) @ second * (self.alpha / self.rank)
    """,
    "mindspore, whose operations are objects": """
        from mindspore import nn, Parameter, ops

        class LoraDense(nn.Dense):
            def __init__(self, wide, out, r, lora_alpha):
                super().__init__(wide, out)
                self.lora_a = Parameter(ops.zeros((r, wide)))
                self.lora_b = Parameter(ops.zeros((out, r)))
                self.ratio = lora_alpha / r
                self.turned = ops.MatMul(transpose_b=True)
                self.times = ops.Mul()

            def construct(self, x):
                out = super().construct(x)
                return out + self.times(self.turned(self.turned(x, self.lora_a), self.lora_b), self.ratio)
    """,
    "a sum that starts with the base": """
        class LoraSum:
            def forward(self, x):
                return sum((b(a(x)) * self.scale for a, b in self.pairs), start=self.base(x))

            def __init__(self, base, lora_a, lora_b, alpha, rank):
                self.base, self.pairs, self.scale = base, [(lora_a, lora_b)], alpha / rank
    """,
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_other_libraries(name: str) -> None:
    found = applications(ledger_of(LAYERS[name]))
    assert [(one.kind, one.formula) for one in found] == [("forward", "alpha / rank")]


MIXED = """
from torch import nn
import torch


class LoraLayer(nn.Module):
    def __init__(self, base, r, alpha, dropout_rate):
        super().__init__()
        self.base = base
        self.lora_A = nn.Linear(base.in_features, r, bias=False)
        self.mixer = nn.Linear({core}, bias=False)
        self.lora_B = nn.Linear(r, base.out_features, bias=False)
        self.scaling, self.dropout_rate = alpha / r, dropout_rate

    def merge(self):
        self.base.weight.data += self.lora_B.weight @ self.mixer.weight @ self.lora_A.weight * self.scaling

    def forward(self, x):
        kept = torch.rand_like(x) > self.dropout_rate
        inner = self.lora_A((x * kept) / (1 - self.dropout_rate))
        return self.base(x) + self.lora_B(self.mixer(inner)) * self.scaling
"""


def test_a_layer_between_the_factors_is_merged_with_them() -> None:
    found = applications(ledger_of(MIXED.format(core="r, r")))
    assert [(one.kind, one.formula) for one in found] == [
        ("merge", "alpha / rank"),
        ("forward", "alpha / rank"),
    ]
