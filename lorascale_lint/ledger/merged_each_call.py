"""Forwards that write the sum of a weight and its delta back into the weight, at each call."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.knowledge.inverses import may_put_back
from lorascale_lint.knowledge.members import CALLED_BY_FRAMEWORK
from lorascale_lint.knowledge.operations import changes_receiver
from lorascale_lint.ledger.backups import changed_weight, in_place, weight_of
from lorascale_lint.ledger.class_fields import CONSTRUCTORS
from lorascale_lint.ledger.conditions import names_in
from lorascale_lint.ledger.entries import Apply
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import ByFunction
from lorascale_lint.linking.definitions import FunctionInfo, dotted


def merged_each_call(ledger: Ledger) -> Iterator[Apply]:
    """Each application of a forward whose weight keeps the delta, where nothing takes it out or asks."""
    for apply in ledger.applies:
        function = apply.spot.function
        if function is None or function.name not in CALLED_BY_FRAMEWORK or apply.spot.chain:
            continue
        if apply.spot.file.is_test:
            continue
        weight = weight_of(apply.base)
        if apply.kind != "merge" or weight is None or not _is_kept(ledger, apply, weight):
            continue
        if not (_is_changed_again(function, weight) or _takes_back(function) or _is_asked(ledger, apply)):
            yield apply


def _is_kept(ledger: Ledger, apply: Apply, weight: str) -> bool:
    """Is the sum put where its weight was: ``self.conv.weight.data = self.conv.weight.data + delta``?"""
    node = apply.spot.node
    if in_place(apply):
        return _text(node).removesuffix(".data") == f"self.{weight}"
    return any(
        store.spot.row == apply.spot.row and not store.spot.chain and changed_weight(store) == weight
        for store in ledger.once(ByFunction).stores.get(apply.spot.function, ())
    )


def _is_changed_again(function: FunctionInfo, weight: str) -> bool:
    """Does another statement of the method set the weight, or what holds it?"""
    texts = [_text(node).removesuffix(".data") for node in ast.walk(function.node)]
    return len([text for text in texts if text and f"self.{weight}.".startswith(f"{text}.")]) > 1


def _text(node: ast.AST) -> str:
    """What an assignment or a call in place changes, as it is written."""
    match node:
        case ast.AugAssign(target=target) | ast.Assign(targets=[target]):
            return dotted(target)
        case ast.Call(func=ast.Attribute(value=owner, attr=name)) if changes_receiver(name):
            return dotted(owner)
        case _:
            return ""


def _takes_back(function: FunctionInfo) -> bool:
    """Does the method call anything that may put the weight back?"""
    calls = (node.func for node in ast.walk(function.node) if isinstance(node, ast.Call))
    return any(may_put_back(dotted(called)) for called in calls)


def _is_asked(ledger: Ledger, apply: Apply) -> bool:
    """Does a condition read a field that some method sets, as the flag of a merged layer is, or `merge`?"""
    changing = {
        store.field
        for store in ledger.stores
        if store.spot.function is None or store.spot.function.name not in CONSTRUCTORS
    }
    asked = {name for atom, _ in apply.guards for name in names_in(atom)}
    return not asked.isdisjoint(changing | {"training"}) or any("merge" in name for name in asked)
