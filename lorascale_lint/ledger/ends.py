"""Where deltas leave a function: in a sum with their base, or by a return."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.ledger.deltas import operand_of
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.powers import powers_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.guards import Guards
from lorascale_lint.provenance.scale import Scale, settled, undivided
from lorascale_lint.provenance.values import Multiplied, Tensor, Tup, options


@immutable(frozen=True, slots=True, eq=False)
class End:
    """A delta on one path, where it meets its base (``kind`` merge, forward, unmerge) or is returned."""

    spot: Spot
    kind: str
    scale: Scale
    guards: Guards
    steps: tuple[Multiplied, ...]
    rows: tuple[int, ...]
    """Rows of the products that made it."""
    delta: ast.expr | None
    """The delta itself, where it stands as an expression."""

    @property
    def trained(self) -> Multiplied | None:
        """The step that gives it the trained scale."""
        return next((step for step in self.steps if powers_of(step.scale).is_trained), None)


def ends(ledger: Ledger) -> dict[FunctionInfo, list[End]]:
    """Those of each function that was looked at by itself; of returns only if it adds none to a base."""
    return ledger.once(_ends)


def _ends(ledger: Ledger) -> dict[FunctionInfo, list[End]]:
    found: dict[FunctionInfo, list[End]] = defaultdict(list)
    for function, end in (*_sums(ledger), *_returns(ledger)):
        if end.kind != "return" or all(other.kind == "return" for other in found[function]):
            found[function].append(end)
    return {function: items for function, items in found.items() if items}


def _sums(ledger: Ledger) -> Iterator[tuple[FunctionInfo, End]]:
    for entry in ledger.applies:
        if entry.spot.function is not None and not entry.spot.chain:
            made = End(
                entry.spot,
                entry.kind,
                entry.scale,
                entry.guards,
                entry.steps,
                entry.rows,
                operand_of(entry.spot.node, entry.operand),
            )
            yield entry.spot.function, made


def _returns(ledger: Ledger) -> Iterator[tuple[FunctionInfo, End]]:
    for entry in ledger.returns:
        if entry.spot.function is None or entry.spot.chain:
            continue
        for whole in options(entry.value):
            items = whole.value.items if isinstance(whole.value, Tup) else (whole.value,)
            for item, node in zip(items, _nodes(entry.spot.node, len(items)), strict=True):
                for option in options(item):
                    value = option.value
                    if isinstance(value, Tensor) and value.kind == "delta":
                        guards = (*entry.guards, *whole.guards, *option.guards)
                        scale = undivided(settled(value.scale, value.layout))
                        made = End(entry.spot, "return", scale, guards, value.steps, value.rows, node)
                        yield entry.spot.function, made


def _nodes(node: ast.AST, count: int) -> list[ast.expr | None]:
    """The expressions of what a statement returns: one, or those of a tuple."""
    value = node.value if isinstance(node, ast.Return) else None
    if isinstance(value, ast.Tuple) and len(value.elts) == count:
        return list(value.elts)
    return [value] if count == 1 else [None] * count
