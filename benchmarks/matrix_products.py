"""Matrix products in functions that speak of LoRA, found by the syntax alone.

This is no part of the linter, and knows nothing of what it sees: it is what the linter's view is measured by.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

LORA_WORD = re.compile(
    r"(?<![a-z])(?:lora(?!(?<=q_lora|v_lora)_rank)|lokr|loha|dora|locon)(?![a-z]{2})"
    r"|(?:q|rs|ada)lora|LoRA|Lora|LORA|DoRA|LoKr|LoHa"
)
"""A word that only code about LoRA has: not "exploration", and not the `kv_lora_rank` of latent attention."""

PRODUCTS = frozenset(
    {
        "addbmm", "addmm", "addmv", "baddbmm", "batched_matmul", "bmm", "chain_matmul", "dot", "dot_general",
        "einsum", "kron", "matmul", "matvec", "mm", "multi_dot", "mv", "smm", "tensordot", "vecmat",
    }
)  # fmt: skip
"""Functions and methods of torch, numpy, jax, mlx and keras that multiply; a trailing `_` may follow."""

APPLIED = frozenset({"linear", "bilinear", "conv1d", "conv2d", "conv3d", "conv_transpose2d", "dense"})
"""Functions, not methods, that apply a weight: `F.linear(x, weight)`."""

_FUNCTIONAL = re.compile(r"(?:^|\.)(?:F|functional|ops|nn|lax|jax|torch|mint|paddle)$")
_STRONG = re.compile(
    r"(?i)lora_?(?:a|b|up|down|left|right|in|out|mid|magnitude)s?(?:_(?:layer|proj|linear))?s?$"
)
_VERB = re.compile(
    r"(?i)(?:add|apply|collect|compute|create|get|init|load|make|merge|prepare|reset|set|split)_"
)
_PAIRS = (
    ("down", "up"), ("a", "b"), ("lora_down", "lora_up"), ("w_a", "w_b"), ("w1", "w2"),
    ("linear_a", "linear_b"), ("matrix_a", "matrix_b"), ("adapter_down", "adapter_up"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Product:
    """A product: its rows, how it is written, and the function that it stands in."""

    row: int
    end_row: int
    operation: str
    function: str
    text: str


def products(tree: ast.Module, source: str) -> list[Product]:
    """The products of a file in functions with LoRA words, by row; a script is a function too."""
    if not LORA_WORD.search(source):
        return []
    lines = source.splitlines()
    scopes = list(_scopes(tree, "", False, lines))
    script = ast.Module([node for node in tree.body if not isinstance(node, _Function | ast.ClassDef)], [])
    if any(LORA_WORD.search(_text(node, lines)) for node in script.body if not isinstance(node, _Import)):
        scopes.append((script, "<module>", _called(script)))
    found = [product for scope in scopes for product in _products(*scope)]
    return sorted(found, key=lambda product: (product.row, product.end_row))


_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Import = ast.Import | ast.ImportFrom


def _text(node: ast.stmt, lines: list[str]) -> str:
    return "\n".join(lines[node.lineno - 1 : node.end_lineno])


def _scopes(
    node: ast.AST, prefix: str, speaks: bool, lines: list[str], called: frozenset[str] = frozenset()
) -> Iterator[tuple[_Function | ast.Module, str, frozenset[str]]]:
    """Functions that speak of LoRA, themselves or by the name of what is around them.

    With each, the names that its class calls: a pair of layers is often called in two methods.
    """
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, _Function | ast.ClassDef):
            yield from _scopes(child, prefix, speaks, lines, called)
            continue
        name = f"{prefix}{child.name}"
        named = speaks or LORA_WORD.search(child.name) is not None
        if isinstance(child, ast.ClassDef):
            yield from _scopes(child, f"{name}.", named, lines, _called(child))
            continue
        if named or LORA_WORD.search(_text(child, lines)):
            yield child, name, called | _called(child)
        yield from _scopes(child, f"{name}.", named, lines, called)


def _products(function: _Function | ast.Module, name: str, called: frozenset[str]) -> Iterator[Product]:
    for node in _own(function):
        operation = _operation(node, called)
        if operation:
            text = " ".join(ast.unparse(node).split())[:120]
            yield Product(node.lineno, node.end_lineno or node.lineno, operation, name, text)


def _own(function: _Function | ast.Module) -> Iterator[ast.expr | ast.stmt]:
    """The nodes of a function, without those of functions and classes inside it."""
    stack: list[ast.AST] = list(function.body)
    while stack:
        node = stack.pop()
        if isinstance(node, _Function | ast.ClassDef):
            continue
        if isinstance(node, ast.expr | ast.stmt):
            yield node
        stack.extend(ast.iter_child_nodes(node))


def _operation(node: ast.AST, called: frozenset[str]) -> str:
    if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.MatMult):
        return "@"
    if not isinstance(node, ast.Call):
        return ""
    name = _last_name(node.func)
    plain = name.rstrip("_")
    if plain in PRODUCTS and node.args:
        return plain
    if isinstance(node.func, ast.Attribute) and plain in APPLIED and len(node.args) + len(node.keywords) > 1:
        return plain if _FUNCTIONAL.search(ast.unparse(node.func.value)) else ""
    if _STRONG.search(name) and not _VERB.match(name) and node.args:
        return "layer call"
    low = name.lower()
    pairs = [{down, up} for down, up in _PAIRS if low in (down, up)]
    return "layer call" if node.args and any(pair <= called for pair in pairs) else ""


def _called(node: ast.AST) -> frozenset[str]:
    return frozenset(_last_name(item.func).lower() for item in ast.walk(node) if isinstance(item, ast.Call))


def _last_name(function: ast.expr) -> str:
    """`lora_B` of `self.lora_B[adapter]`."""
    while isinstance(function, ast.Subscript):
        function = function.value
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""
