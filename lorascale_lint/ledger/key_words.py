"""Words of the code that a trial has run: the keys that it names."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.knowledge.roles import ALPHA, SCALING, key_role
from lorascale_lint.ledger.fates import Fate
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import FileInfo, FunctionInfo


def alpha_words(fate: Fate) -> Iterator[tuple[Spot, str]]:
    """Where the code that ran names a key of alpha."""
    return ((spot, text) for spot, text in texts_of(fate) if key_role(text) in (ALPHA, SCALING))


def texts_of(fate: Fate) -> Iterator[tuple[Spot, str]]:
    """The literal texts of the functions that ran, and of the top levels of their files."""
    ran = fate.ran
    for function in ran:
        if function is not None:
            yield from _texts(function.file, function, function.node)
    files = [function.file for function in ran if function is not None] or [fate.trial.spot.file]
    for file in dict.fromkeys(files):
        for node in file.tree.body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield from _texts(file, None, node)


def _texts(file: FileInfo, function: FunctionInfo | None, root: ast.AST) -> Iterator[tuple[Spot, str]]:
    wholes: dict[ast.AST, ast.AST] = {}
    for node in ast.walk(root):
        if isinstance(node, ast.JoinedStr):  # parts have a place of their own since Python 3.12
            specs = (value.format_spec for value in node.values if isinstance(value, ast.FormattedValue))
            wholes |= dict.fromkeys((*node.values, *filter(None, specs)), wholes.get(node, node))
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            owner = None if function is None else function.owner
            yield Spot(file, function, owner, wholes.get(node, node)), node.value
