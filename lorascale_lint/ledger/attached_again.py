"""Adapters that are merged into a model, and loaded into the merged model once more."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.knowledge.interfaces import ADAPTER_STEPS, AdapterStep
from lorascale_lint.ledger.entries import Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.merged_twice import MergedTwice
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.linking.results import statement_of
from lorascale_lint.provenance.guards import contradict
from lorascale_lint.provenance.values import UNKNOWN, Place, Text, Value

_ON_TOP = "gets the adapter on top that was merged into it"


def attached_again(ledger: Ledger) -> Iterator[MergedTwice]:
    """Each second load once."""
    by_function: dict[FunctionInfo | None, list[Use]] = defaultdict(list)
    for use in ledger.uses:
        if use.callee is None and not use.spot.chain and not use.spot.file.is_test:
            by_function[use.spot.function].append(use)
    for function, uses in by_function.items():
        loads = [use for use in uses if use.name.endswith("PeftModel.from_pretrained")]
        for merge in uses:
            if ADAPTER_STEPS.get(merge.called) is not AdapterStep.MERGE:
                continue
            loaded = _source(function, merge, loads)
            path = None if loaded is None else _path(loaded)
            merged = _target(function, merge)
            for again in loads:
                same = path is not None and again is not loaded and _path(again) == path
                if loaded is not None and same and _is_given(again, merge, merged):
                    yield MergedTwice(merged or "model", loaded.spot, merge.spot, again.spot, _ON_TOP)
                    break


def _path(load: Use) -> Value | None:
    """From where it is loaded, where that is one thing by its name or text."""
    found = load.given.get("1", load.given.get("model_id"))
    known = isinstance(found, Place | Text) and found != UNKNOWN
    return found if known else None


def _source(function: FunctionInfo | None, merge: Use, loads: list[Use]) -> Use | None:
    """The load whose model is merged."""
    match merge.spot.node:
        case ast.Call(func=ast.Attribute(value=ast.Call() as made)):
            return next((load for load in loads if load.spot.node is made), None)
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name))):
            before = (load for load in loads if load.spot.row < merge.spot.row)
            return next((load for load in before if _target(function, load) == name), None)
        case _:
            return None


def _target(function: FunctionInfo | None, use: Use) -> str:
    """The name under which a function keeps what a call gives."""
    statement = statement_of(function, use.spot.node) if function is not None else None
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=value) if value is use.spot.node:
            return name
        case _:
            return ""


def _is_given(again: Use, merge: Use, merged: str) -> bool:
    """Is the merged model, on one way with it, what the other is loaded into?"""
    call = again.spot.node
    first = call.args[0] if isinstance(call, ast.Call) and call.args else None
    if first is merge.spot.node:
        return True
    value = again.given.get("0")
    made = isinstance(value, Place) and value.made == "call" and value.path == f"{merge.called}()"
    later = again.spot.row > merge.spot.row and not contradict(merge.guards, again.guards)
    return made and later and isinstance(first, ast.Name) and first.id == merged
