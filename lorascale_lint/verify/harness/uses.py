"""What code does with its parameters: a thing that is asked for `in_features` is a layer."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from dataclasses import dataclass

OF_LAYERS = frozenset({"weight", "in_features", "out_features", "in_channels", "out_channels"})
"""What only a layer is asked for; a tensor has none of it."""
OF_TENSORS = frozenset({"shape", "view", "reshape", "T", "t", "ndim", "dtype", "flatten", "matmul"})
"""What a tensor is asked for, and no number or configuration."""


@dataclass(frozen=True, slots=True)
class Used:
    """Of one name: the attributes and keys that it is asked for.

    `called`: it is called, as a layer is; `made`: called with sizes by name or several arguments, as a class;
    `iterated`: a loop goes over it; `multiplies`: it is a factor of products, and nothing else.
    """

    attributes: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()
    called: bool = False
    made: bool = False
    iterated: bool = False
    multiplies: bool = False


UNUSED = Used()


def uses_in(tree: ast.AST) -> dict[str, Used]:
    """By the name of a variable, what is done with it. What is kept as `self.x = x` is `x` itself."""
    attributes: dict[str, set[str]] = defaultdict(set)
    keys: dict[str, set[str]] = defaultdict(set)
    called, made, iterated = set[str](), set[str](), set[str]()
    multiplies = _multipliers(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (name := _name(node.value)):
            attributes[name].add(node.attr)
        elif isinstance(node, ast.Subscript) and (name := _name(node.value)):
            if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
                keys[name].add(node.slice.value)
        elif isinstance(node, ast.Call):
            if name := _name(node.func):
                called.add(name)
                if len(node.args) + len(node.keywords) > 1:
                    made.add(name)
            elif (asked := _asked(node)) is not None:
                keys[asked[0]].add(asked[1])
        elif isinstance(node, (ast.For, ast.comprehension)):
            iterated |= {item.id for item in ast.walk(node.iter) if isinstance(item, ast.Name)}
    return {
        name: Used(
            frozenset(attributes[name]),
            frozenset(keys[name]),
            name in called,
            name in made,
            name in iterated,
            name in multiplies,
        )
        for name in {*attributes, *keys, *called, *iterated, *multiplies}
    }


def _multipliers(tree: ast.AST) -> set[str]:
    """Names that stand in products wherever they are read."""
    read, multiplied = Counter[str](), Counter[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            read[node.id] += 1
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            multiplied.update(side.id for side in (node.left, node.right) if isinstance(side, ast.Name))
    return {name for name, count in multiplied.items() if read[name] == count}


def _name(node: ast.AST) -> str:
    """`x`, or `self.x`: most constructors keep a parameter under its own name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
        return node.attr
    return ""


def _asked(call: ast.Call) -> tuple[str, str] | None:
    """`x.get("key", ...)` and `getattr(x, "key", ...)`."""
    function, first = call.func, call.args[:2]
    if isinstance(function, ast.Attribute) and function.attr == "get" and first and _name(function.value):
        key: ast.expr | None = first[0]
        name = _name(function.value)
    elif isinstance(function, ast.Name) and function.id in ("getattr", "hasattr") and len(first) == 2:
        key, name = first[1], _name(first[0])
    else:
        return None
    if not name or not isinstance(key, ast.Constant) or not isinstance(key.value, str):
        return None
    return name, key.value
