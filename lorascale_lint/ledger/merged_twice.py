"""Weights that a function gives their delta, beside a call that merges the same layer."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.immutable import immutable, replace
from lorascale_lint.knowledge.interfaces import GIVES_SCALED_DELTA
from lorascale_lint.knowledge.inverses import INTO_WEIGHTS
from lorascale_lint.knowledge.members import EMPTIES, ZEROES
from lorascale_lint.knowledge.roles import DELTA, role_of
from lorascale_lint.ledger.backups import weight_of
from lorascale_lint.ledger.entries import Apply
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import ByFunction
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import FunctionInfo, dotted
from lorascale_lint.linking.results import arms
from lorascale_lint.provenance.marks import WALKED
from lorascale_lint.provenance.values import Tensor, options


@immutable(frozen=True, slots=True, eq=False)
class MergedTwice:
    """The delta that ``layer`` gives at ``delta`` is written into its weight at ``by_hand``, and merged."""

    layer: str
    delta: Spot
    by_hand: Spot
    merge: Spot
    again: str = "is told to merge a delta that its weight has already"


def merged_twice(ledger: Ledger) -> Iterator[MergedTwice]:
    """Each call that merges a layer, or its model, when the weight has the delta already."""
    yield from _of_layers(ledger)
    yield from _of_models(ledger)


def _of_models(ledger: Ledger) -> Iterator[MergedTwice]:
    """Products of the factors of a model's modules, put into their weights before the model merges."""
    for apply in ledger.applies:
        spot, function = apply.spot, apply.spot.function
        model, walked, _ = apply.factors.partition(f".{WALKED}")
        base = weight_of(apply.base) or ""
        if apply.kind != "merge" or function is None or spot.chain or not walked or spot.file.is_test:
            continue
        if not base.startswith(f"{model}.{WALKED}") or _is_emptied(ledger, function, apply):
            continue
        for use in ledger.once(ByFunction).uses.get(function, ()):
            owner, _, name = use.name.rpartition(".")
            later = not use.spot.chain and use.spot.row > spot.row
            merges = later and owner == model and name.startswith(INTO_WEIGHTS)
            if merges and _together(function, spot.node, use.spot.node):
                yield MergedTwice("the model", spot, spot, use.spot)
                break


def _is_emptied(ledger: Ledger, function: FunctionInfo, apply: Apply) -> bool:
    """Does the function set the factors to something else behind the sum?"""
    stored = (store.spot for store in ledger.once(ByFunction).stores.get(function, ()))
    row = apply.spot.row
    return any(spot.row > row for spot in stored) or empties(function, row)


def empties(function: FunctionInfo, row: int) -> bool:
    """Does the function set a tensor to zero behind this row?"""
    return any(node.lineno > row for node, _, name in _calls(function) if name in EMPTIES)


def zeroes(function: FunctionInfo, row: int, field: str) -> ast.Call | None:
    """The call behind this row that sets the tensor in ``field`` to zero: ``self.lora_B.data.zero_()``."""
    for node, owner, name in _calls(function):
        target = owner if not node.args else dotted(node.args[0])
        if node.lineno > row and name in ZEROES and field in target.split("."):
            return node
    return None


def _of_layers(ledger: Ledger) -> Iterator[MergedTwice]:
    for store in ledger.stores:
        function = store.spot.function
        if function is None or store.field not in ("weight", "data") or store.spot.file.is_test:
            continue
        if store.spot.chain or not any(_is_merged(option.value) for option in options(store.value)):
            continue
        target = dotted(store.spot.node)
        given = [(node, owner) for node, owner, name in _calls(function) if _gives_delta(name)]
        for merge, layer, name in _calls(function):
            if name not in INTO_WEIGHTS or (layer == "self" and name == function.name):
                continue
            taken = (n for n, owner in given if owner == layer and _together(function, n, merge))
            delta = next(taken, None)
            by_hand = target.startswith(f"{layer}.") and store.spot.row < merge.lineno
            if by_hand and delta is not None and _together(function, store.spot.node, merge):
                yield MergedTwice(
                    layer,
                    replace(store.spot, node=delta, statement=(0, 0)),
                    store.spot,
                    replace(store.spot, node=merge, statement=(0, 0)),
                )


def _is_merged(value: object) -> bool:
    return isinstance(value, Tensor) and value.kind == "adapted"


def _gives_delta(name: str) -> bool:
    return name in GIVES_SCALED_DELTA or role_of(name, False) == DELTA


def _calls(function: FunctionInfo) -> Iterator[tuple[ast.Call, str, str]]:
    """Calls of methods, with the receiver as it is written and the name."""
    for node in ast.walk(function.node):
        match node:
            case ast.Call(func=ast.Attribute(value=owner, attr=name)):
                yield node, dotted(owner), name
            case _:
                pass


def _together(function: FunctionInfo, one: ast.AST, two: ast.AST) -> bool:
    """May both run on one way: do they stand on no two branches of a test?"""
    here, there = arms(function, one), arms(function, two)
    return not any((branch, not holds) in there for branch, holds in here)
