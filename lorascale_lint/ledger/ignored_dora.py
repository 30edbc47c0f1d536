"""Layers on PEFT's that let it make them DoRA layers, and whose forward adds the delta as of plain LoRA."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.interfaces import PEFT_LAYERS
from lorascale_lint.knowledge.kinds import speaks_of_dora
from lorascale_lint.ledger.entries import Apply
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import ClassInfo, FunctionInfo, dotted


@immutable(frozen=True, slots=True, eq=False)
class IgnoredDora:
    """The constructor hands ``flag`` on at ``handed``, and ``forward`` knows nothing of it."""

    flag: str
    handed: Spot
    forward: Apply


def ignored_dora(ledger: Ledger) -> Iterator[IgnoredDora]:
    """One for each class, where none of its other methods has a word of DoRA."""
    seen: set[ClassInfo] = set()
    for forward in ledger.applies:
        cls = forward.spot.cls
        if forward.kind != "forward" or cls is None or cls in seen or forward.spot.file.is_test:
            continue
        seen.add(cls)
        init = cls.methods.get("__init__")
        if init is None or not _is_on_peft(ledger, cls) or _knows_dora(ledger, cls):
            continue
        flag = next(filter(speaks_of_dora, init.parameters), "")
        handed = _handed_on(init, flag) if flag else None
        if handed is not None:
            yield IgnoredDora(flag, Spot(init.file, init, cls, handed), forward)


def _is_on_peft(ledger: Ledger, cls: ClassInfo) -> bool:
    bases = (base for item in ledger.lineage(cls) for base in item.node.bases)
    return any(dotted(base).rpartition(".")[2] in PEFT_LAYERS for base in bases)


def _knows_dora(ledger: Ledger, cls: ClassInfo) -> bool:
    """Does a method beside the constructor, or one of a base in the project, say a word of it?"""
    methods = (
        method
        for item in ledger.lineage(cls)
        for name, method in item.methods.items()
        if not (item is cls and name == "__init__")
    )
    return any(speaks_of_dora(method.file.text(method.node)) for method in methods)


def _handed_on(init: FunctionInfo, flag: str) -> ast.Call | None:
    """The call that is given the flag; None if the constructor asks for it, and so may refuse it."""
    if any(
        isinstance(node, ast.If | ast.Assert | ast.IfExp) and flag in ast.unparse(node.test)
        for node in init.nodes
    ):
        return None
    for node in init.nodes:
        if isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] == "update_layer":
            given = (*node.args, *(keyword.value for keyword in node.keywords))
            if any(isinstance(part, ast.Name) and part.id == flag for part in given):
                return node
    return None
