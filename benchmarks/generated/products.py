"""Products of the factors in weight space and in activation space, with the layouts they belong to."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.generated.code import Incompatible, Roles


@dataclass(frozen=True, slots=True)
class Layout:
    """How a variant keeps its factors."""

    roles: tuple[str, ...]
    ranks: tuple[str, ...]
    """Expressions of the rank, from the factors."""
    bases: str
    """``linear``, ``conv`` or ``batched``: what the delta is added to."""
    tensors: str
    """Python for the truth: a dictionary of factors by role, from ``I``, ``O`` and ``rank``."""
    delta: str
    """Python for the truth: the unscaled delta in weight layout, from that dictionary ``t``."""
    empty: tuple[str, ...] = ()
    """Constructor expressions of the factors, where the layer makes them itself."""


LAYOUTS: dict[str, Layout] = {
    "lora": Layout(
        ("A", "B"),
        ("{A}.shape[0]", "{B}.shape[1]", "{A}.size(0)", "len({A})"),
        "linear",
        "{'A': torch.randn(rank, I), 'B': torch.randn(O, rank)}",
        "t['B'] @ t['A']",
        ("torch.zeros({rank}, base_layer.in_features)", "torch.zeros(base_layer.out_features, {rank})"),
    ),
    "transposed": Layout(
        ("A", "B"),
        ("{A}.shape[1]", "{B}.shape[0]", "{A}.shape[-1]"),
        "linear",
        "{'A': torch.randn(I, rank), 'B': torch.randn(rank, O)}",
        "(t['A'] @ t['B']).T",
        ("torch.zeros(base_layer.in_features, {rank})", "torch.zeros({rank}, base_layer.out_features)"),
    ),
    "conv": Layout(
        ("A", "B"),
        ("{A}.shape[0]", "{B}.shape[1]"),
        "conv",
        "{'A': torch.randn(rank, I, 1, 1), 'B': torch.randn(O, rank, 1, 1)}",
        "(t['B'][:, :, 0, 0] @ t['A'][:, :, 0, 0])[:, :, None, None]",
        (
            "torch.zeros({rank}, base_layer.in_channels, 1, 1)",
            "torch.zeros(base_layer.out_channels, {rank}, 1, 1)",
        ),
    ),
    "loha": Layout(
        ("w1_a", "w1_b", "w2_a", "w2_b"),
        ("{w1_b}.shape[0]", "{w1_a}.shape[1]"),
        "linear",
        "{'w1_a': torch.randn(O, rank), 'w1_b': torch.randn(rank, I),"
        " 'w2_a': torch.randn(O, rank), 'w2_b': torch.randn(rank, I)}",
        "(t['w1_a'] @ t['w1_b']) * (t['w2_a'] @ t['w2_b'])",
    ),
    "lokr": Layout(
        ("k1", "k2_a", "k2_b"),
        ("{k2_b}.shape[0]", "{k2_a}.shape[1]"),
        "linear",
        "{'k1': torch.randn(2, 2), 'k2_a': torch.randn(O // 2, rank), 'k2_b': torch.randn(rank, I // 2)}",
        "torch.kron(t['k1'], t['k2_a'] @ t['k2_b'])",
    ),
    "batched": Layout(
        ("A", "B"),
        ("{A}.shape[1]", "{B}.shape[2]", "{B}.shape[-1]"),
        "batched",
        "{'A': torch.randn(3, rank, I), 'B': torch.randn(3, O, rank)}",
        "torch.bmm(t['B'], t['A'])",
    ),
}


@dataclass(frozen=True, slots=True)
class Product:
    """One spelling of a product."""

    layout: str
    weight: str = ""
    """The delta in weight layout; empty where this spelling has none."""
    forward: str = ""
    """The delta's output for ``x``; empty where this spelling has none."""
    imports: tuple[str, ...] = ()
    fused: tuple[str, str] = ("", "")
    """First and second operand of ``addmm`` or ``baddbmm``, where they apply."""

    def in_weights(self, roles: Roles) -> str:
        """The expression of the delta."""
        if not self.weight:
            raise Incompatible("a product of activations in a merge")
        return self.weight.format(**roles)

    def of_x(self, roles: Roles, x: str) -> str:
        """The expression of what the delta adds to the output for ``x``."""
        if self.forward:
            if "{A_module}" in self.forward:
                if not all(roles[role].endswith(".weight") for role in ("A", "B")):
                    raise Incompatible("a module call without modules")
                if roles["A"].startswith("self.branch["):
                    return f"self.branch({x})"
                modules = {f"{role}_module": roles[role].removesuffix(".weight") for role in ("A", "B")}
                return self.forward.format(x=x, **modules)
            return self.forward.format(x=x, **roles)
        if LAYOUTS[self.layout].bases != "linear":
            raise Incompatible("a product of weights in a forward")
        return f"F.linear({x}, {self.weight.format(**roles)})"


_T = ("import torch",)
_F = ("import torch.nn.functional as F",)

PRODUCTS: dict[str, Product] = {
    "B @ A": Product("lora", "{B} @ {A}", fused=("{B}", "{A}")),
    "torch.mm": Product("lora", "torch.mm({B}, {A})", imports=_T, fused=("{B}", "{A}")),
    "torch.matmul": Product(
        "lora", "torch.matmul({B}, {A})", "torch.matmul(torch.matmul({x}, {A}.T), {B}.T)", _T
    ),
    "B.matmul(A)": Product("lora", "{B}.matmul({A})"),
    "B.mm(A)": Product("lora", "{B}.mm({A})"),
    "einsum": Product(
        "lora",
        'torch.einsum("or,ri->oi", {B}, {A})',
        'torch.einsum("bi,ri,or->bo", {x}, {A}, {B})',
        _T,
    ),
    "einsum twice": Product(
        "lora",
        "",
        'torch.einsum("br,or->bo", torch.einsum("bi,ri->br", {x}, {A}), {B})',
        _T,
    ),
    "(A.T @ B.T).T": Product("lora", "({A}.T @ {B}.T).T"),
    "linear twice": Product("lora", "", "F.linear(F.linear({x}, {A}), {B})", _F),
    "x @ A.T @ B.T": Product("lora", "", "{x} @ {A}.T @ {B}.T"),
    "x @ A.t() @ B.t()": Product("lora", "", "({x} @ {A}.t()) @ {B}.t()"),
    "transpose(0, 1)": Product("lora", "", "{x} @ {A}.transpose(0, 1) @ {B}.transpose(0, 1)"),
    "module call": Product("lora", "", "{B_module}({A_module}({x}))"),
    "(a @ b).T": Product("transposed", "({A} @ {B}).T", "{x} @ {A} @ {B}"),
    "b.T @ a.T": Product("transposed", "{B}.T @ {A}.T", "({x} @ {A}) @ {B}", fused=("{B}.T", "{A}.T")),
    "torch.mm(a, b).t()": Product(
        "transposed", "torch.mm({A}, {B}).t()", "torch.matmul(torch.matmul({x}, {A}), {B})", _T
    ),
    "conv 1x1 squeezed": Product(
        "conv",
        "({B}.squeeze(3).squeeze(2) @ {A}.squeeze(3).squeeze(2)).unsqueeze(2).unsqueeze(3)",
        "F.conv2d(F.conv2d({x}, {A}), {B})",
        _F,
    ),
    "conv of conv": Product(
        "conv",
        "F.conv2d({A}.permute(1, 0, 2, 3), {B}).permute(1, 0, 2, 3)",
        "F.conv2d(F.conv2d({x}, {A}), {B})",
        _F,
    ),
    "conv flattened": Product("conv", "({B}.flatten(1) @ {A}.flatten(1))[:, :, None, None]"),
    "LoHa": Product("loha", "({w1_a} @ {w1_b}) * ({w2_a} @ {w2_b})", imports=_F),
    "LoHa by mm": Product("loha", "torch.mm({w1_a}, {w1_b}) * torch.mm({w2_a}, {w2_b})", imports=(*_T, *_F)),
    "LoKr": Product("lokr", "torch.kron({k1}, {k2_a} @ {k2_b})", imports=(*_T, *_F)),
    "torch.bmm": Product("batched", "torch.bmm({B}, {A})", imports=_T, fused=("{B}", "{A}")),
    "batched @": Product("batched", "{B} @ {A}"),
    "batched einsum": Product("batched", 'torch.einsum("nor,nri->noi", {B}, {A})', imports=_T),
}
