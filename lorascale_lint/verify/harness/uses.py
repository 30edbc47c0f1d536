"""What code asks of its parameters: a thing that is asked for `in_features` is a layer."""

from __future__ import annotations

import ast

OF_LAYERS = frozenset({"weight", "in_features", "out_features", "in_channels", "out_channels"})
"""What only a layer is asked for; a tensor has none of it."""


def attributes_asked(tree: ast.AST) -> dict[str, frozenset[str]]:
    """By the name of a variable: the attributes that it is asked for."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found.setdefault(node.value.id, set()).add(node.attr)
    return {name: frozenset(names) for name, names in found.items()}
