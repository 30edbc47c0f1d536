"""Names of a function that hold an adapter file as it is, and names that are free for something new."""

from __future__ import annotations

import re

import libcst as cst

from lorascale_lint.fixing.rewriting import Rewrite
from lorascale_lint.ledger.entries import Trial

_REMOVES = re.compile(r"\bdel\b|\.pop\(|\.clear\(")
_WORD = re.compile(r"[^\W\d]\w*")


def removes_entries(rewrite: Rewrite, scope: cst.CSTNode) -> bool:
    """Does code take entries out of a dictionary?"""
    return _REMOVES.search(rewrite.code(scope)) is not None


def bound_once(rewrite: Rewrite, scope: cst.CSTNode, name: str) -> cst.BaseExpression | None:
    """What the only statement that binds ``name`` in ``scope`` binds it to."""
    found = [value for target, value in _bindings(rewrite, scope) if target == name]
    return found[0] if len(found) == 1 else None


def is_bound(rewrite: Rewrite, scope: cst.CSTNode, name: str) -> bool:
    """Does a statement of ``scope`` bind ``name``?"""
    return any(target == name for target, _ in _bindings(rewrite, scope))


def _bindings(rewrite: Rewrite, scope: cst.CSTNode) -> list[tuple[str, cst.BaseExpression]]:
    around = rewrite.positions[scope]
    found: list[tuple[str, cst.BaseExpression]] = []
    for node, place in rewrite.tree.nodes(cst.Assign):
        if around.row <= place.row <= around.end_row:
            names = [target.target for target in node.targets]
            found += [(name.value, node.value) for name in names if isinstance(name, cst.Name)]
    for walrus, place in rewrite.tree.nodes(cst.NamedExpr):
        if around.row <= place.row <= around.end_row and isinstance(walrus.target, cst.Name):
            found.append((walrus.target.value, walrus.value))
    return found


def holds_file(rewrite: Rewrite, scope: cst.CSTNode, trial: Trial, name: str) -> bool:
    """Is ``name`` the parameter that holds the file, or bound to the call that opens it?"""
    if trial.parameter:
        return name == trial.parameter and not is_bound(rewrite, scope, name)
    value = bound_once(rewrite, scope, name)
    return value is not None and rewrite.positions[value] == trial.spot.loc


def free_names(rewrite: Rewrite, scope: cst.CSTNode, *names: str) -> tuple[str, ...] | None:
    """The names, with a prefix if the code has another use for them."""
    words = set(_WORD.findall(rewrite.code(scope)))
    for prefix in ("", "lora_", "trained_"):
        found = tuple(f"{prefix}{name}" for name in names)
        if words.isdisjoint(found):
            return found
    return None
