"""New weights that are computed and dropped: a sum of a weight and a delta that nobody stores or returns."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.immutable import immutable, replace
from lorascale_lint.knowledge.operations import OPERATIONS, changes_receiver
from lorascale_lint.ledger.backups import changed_weight, weight_of
from lorascale_lint.ledger.entries import Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.linking.results import arms, goes_nowhere, only_computes
from lorascale_lint.provenance.values import Tensor, Value, options


@immutable(frozen=True, slots=True, eq=False)
class Dropped:
    """What ``spot`` computes of ``weight`` goes nowhere.

    ``helper`` returns it, where a call makes it; ``sibling`` is what writes the weight on the other branch.
    """

    spot: Spot
    verb: str
    weight: Spot | None
    helper: Spot | None = None
    sibling: Spot | None = None


def dropped_weights(ledger: Ledger) -> Iterator[Dropped]:
    """Sums, and calls of helpers that only return one, each once."""
    seen: set[object] = set()
    for found in (*_sums(ledger), *_calls(ledger)):
        spot = found.spot
        if spot.span not in seen and not spot.file.is_test and not _may_be_written(ledger, found):
            seen.add(spot.span)
            yield found


def _sums(ledger: Ledger) -> Iterator[Dropped]:
    for apply in ledger.applies:
        spot, node = apply.spot, apply.spot.node
        if apply.kind == "forward" or spot.chain or spot.function is None or weight_of(apply.base) is None:
            continue
        weight = _operand(node)
        if weight is not None and goes_nowhere(spot.function, node):
            verb = "subtracts the delta" if apply.kind == "unmerge" else "adds the delta"
            sibling = _sibling(ledger, spot, weight_of(apply.base))
            yield Dropped(spot, verb, replace(spot, node=weight), None, sibling)


def _operand(node: ast.AST) -> ast.expr | None:
    """The weight in ``weight - delta``, ``weight.sub(delta)``, ``torch.sub(weight, delta)``: new tensors."""
    match node:
        case ast.BinOp(left=left):
            return left
        case ast.Call(func=ast.Attribute(value=owner, attr=name), args=args, keywords=keywords):
            if OPERATIONS.get(name) not in ("add", "subtract") or changes_receiver(name):
                return None
            if any(keyword.arg == "out" for keyword in keywords) or not args:
                return None
            return args[0] if len(args) > 1 else owner
        case _:
            return None


def _calls(ledger: Ledger) -> Iterator[Dropped]:
    for use in ledger.uses:
        function = use.spot.function
        if use.spot.chain or function is None or not isinstance(use.spot.node, ast.Call):
            continue
        weight = next((w for value in use.given.values() if (w := _weight_in(value)) is not None), None)
        helpers = _helpers(use) if weight is not None else []
        if not helpers or not all(map(only_computes, helpers)) or not goes_nowhere(function, use.spot.node):
            continue
        known = any(_is_new(option.value) for option in options(use.result))
        made = next(
            (e.spot for e in ledger.applies if e.spot.function in helpers and _operand(e.spot.node)), None
        )
        if made is not None and (known or use.callee is None):
            node = next((n for n in use.spot.node.args if isinstance(n, ast.Attribute)), None)
            place = None if node is None else replace(use.spot, node=node)
            yield Dropped(use.spot, "drops", place, made, _sibling(ledger, use.spot, weight))


def _weight_in(value: Value) -> str | None:
    """The one base weight that a value is, or was before another method of the object set it."""
    names = {name for option in options(value) if (name := weight_of(option.value)) is not None}
    return names.pop() if len(names) == 1 else None


def _helpers(use: Use) -> list[FunctionInfo]:
    """What is called; for an object of unknown class, the methods of that name in the file."""
    if isinstance(use.callee, FunctionInfo):
        return [use.callee]
    name = use.called
    if use.callee is not None or "." not in use.name or name in OPERATIONS:
        return []
    return [info for info in use.spot.file.all_functions if info.name == name and info.owner is not None]


def _is_new(value: Value) -> bool:
    return isinstance(value, Tensor) and value.kind == "adapted"


def _sibling(ledger: Ledger, spot: Spot, weight: str | None) -> Spot | None:
    """Where another branch of the same test writes the weight, or changes it in place."""
    assert spot.function is not None
    here = arms(spot.function, spot.node)
    changes: list[tuple[str | None, Spot]] = [(changed_weight(s), s.spot) for s in ledger.stores]
    changes += [(weight_of(a.base), a.spot) for a in ledger.applies if _operand(a.spot.node) is None]
    for changed, other in changes:
        if changed == weight and other.function is spot.function and not other.chain:
            there = arms(spot.function, other.node)
            if any((branch, not holds) in there for branch, holds in here):
                return other
    return None


def _may_be_written(ledger: Ledger, found: Dropped) -> bool:
    """May another call on the branch of a dropped weight write it?"""
    function = found.spot.function
    assert function is not None
    here = arms(function, found.spot.node)
    return bool(here) and any(
        use.spot.function is function
        and use.spot.node is not found.spot.node
        and not use.spot.chain
        and here[0] in arms(function, use.spot.node)
        and (use.name.startswith("self.") if use.callee is None else _changes(use))
        for use in ledger.uses
    )


def _changes(use: Use) -> bool:
    return isinstance(use.callee, FunctionInfo) and not only_computes(use.callee)


__all__ = ["Dropped", "dropped_weights"]
