"""Scales of deltas that a loop multiplies on from round to round, where each module was to get its own."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import lru_cache

from lorascale_lint.bounds import KEPT_STATEMENTS
from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import ALPHA, RANK, A, B
from lorascale_lint.ledger.entries import Apply, Bind, Fold
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import scale_of
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.linking.results import loops_around, statement_of
from lorascale_lint.provenance.scale import LEFT, Scale, Symbol
from lorascale_lint.provenance.values import Multiplied, Tensor, options


@immutable(frozen=True, slots=True, eq=False)
class Growing:
    """The delta of ``used`` has more in each round of a loop than in the one before.

    ``made`` is where the number is multiplied, if it has a name of LoRA code.
    """

    used: Apply | Fold
    made: Bind | None
    is_sure: bool
    """Is what multiplies another number for each module, and no decay from step to step?"""


def growing(ledger: Ledger) -> Iterator[Growing]:
    """One for each place whose scale holds, in each later round, more than in the first."""
    places: dict[tuple[int, tuple[str, ...]], list[Apply | Fold]] = defaultdict(list)
    uses: list[Apply | Fold] = [*ledger.applies, *ledger.folds]
    for entry in uses:
        if not entry.spot.file.is_test:
            places[id(entry.spot.node), entry.spot.chain].append(entry)
    seen: set[int] = set()
    for (node, _), entries in places.items():
        grown = [entry for entry in entries if _repeated(entry.scale)]
        if node not in seen and grown and any(not entry.scale.is_left for entry in entries):
            seen.add(node)
            used = grown[0]
            yield Growing(used, _made(ledger, used), _is_of_a_module(_repeated(used.scale)))


def grown_factors(ledger: Ledger) -> Iterator[tuple[str, Multiplied]]:
    """Factors and deltas from before a loop that each round of it multiplies by a scale, and their names."""
    seen: set[ast.AST] = set()
    for step in ledger.multiplied:
        spot, factor = step.spot, step.before
        if spot.function is None or spot.chain or spot.file.is_test or spot.node in seen:
            continue
        if not isinstance(factor, Tensor) or factor.kind not in (A, B, "delta") or not step.scale.powers:
            continue
        name = _multiplied_name(spot.function, spot.node)
        loops = loops_around(spot.function, spot.node) if name else []
        if loops and _bound(loops[0])[name] == 1:
            seen.add(spot.node)
            yield name, step


def _multiplied_name(function: FunctionInfo, node: ast.AST) -> str:
    """The name that becomes its own multiple: ``up *= scale``, ``up = up * scale``."""
    match statement_of(function, node):
        case ast.AugAssign(target=ast.Name(id=name), op=ast.Mult() | ast.Div()):
            return name
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.BinOp(left=left, right=right) as value):
            if value is node and any(
                isinstance(part, ast.Name) and part.id == name for part in (left, right)
            ):
                return name
        case _:
            pass
    return ""


@lru_cache(KEPT_STATEMENTS)  # asked for each factor that is multiplied in a loop
def _bound(node: ast.AST) -> Counter[str]:
    """How often something gets each name there."""
    parts = (part for part in ast.walk(node) if isinstance(part, ast.Name))
    return Counter(part.id for part in parts if not isinstance(part.ctx, ast.Load))


def _repeated(scale: Scale) -> list[Symbol]:
    """The numbers that multiply, and beside them what the round before had for them."""
    left = {
        (symbol.role, symbol.origin.partition(": ")[2], power > 0)
        for symbol, power in scale.powers
        if symbol.origin.startswith(LEFT)
    }
    return [symbol for symbol, power in scale.powers if (symbol.role, symbol.origin, power > 0) in left]


def _made(ledger: Ledger, used: Apply | Fold) -> Bind | None:
    """Where the loop multiplies what the round before has left."""
    for bind in ledger.binds:
        here = bind.spot.function is used.spot.function and bind.spot.row <= used.spot.row
        if here and bind.spot.chain == used.spot.chain:
            for option in options(bind.value):
                scale = scale_of(option.value)
                held = [] if scale is None else [symbol.origin.startswith(LEFT) for symbol, _ in scale.powers]
                if any(held) and not all(held):
                    return bind
    return None


def _is_of_a_module(multiplied: list[Symbol]) -> bool:
    return any(symbol.role in (ALPHA, RANK) or "[" in symbol.origin for symbol in multiplied)
