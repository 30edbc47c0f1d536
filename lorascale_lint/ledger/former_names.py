"""Names that a loop that has ended leaves behind, read where another loop goes over the same things again."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.ledger.entries import Apply, Fold
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import FunctionInfo


@immutable(frozen=True, slots=True)
class FormerName:
    """The scale at ``used`` is by ``name``, of the loop at ``bound``; its own loop may say ``own``."""

    name: str
    own: str
    bound: Spot
    used: Spot

    @property
    def instead(self) -> str:
        """What stands in the place of the name, as a part of a sentence."""
        return f": this one calls its element `{self.own}`" if self.own else ", of which it is the last"


def former_names(ledger: Ledger) -> Iterator[FormerName]:
    """Scales by the name of a former loop over the same expression, whose own name is never read.

    ``for i, scale in enumerate(scales)``, then ``for i, adapter in enumerate(scales)`` with ``scale`` in it.
    """
    seen: set[ast.AST] = set()
    loops_of: dict[FunctionInfo, list[ast.For]] = {}
    applied: list[Apply | Fold] = [*ledger.applies, *ledger.folds]
    for entry in applied:
        spot = entry.spot
        if spot.chain or spot.function is None or spot.file.is_test or not entry.scale.powers:
            continue
        loops = loops_of.get(spot.function)
        if loops is None:
            loops = [node for node in ast.walk(spot.function.node) if isinstance(node, ast.For)]
            loops_of[spot.function] = loops
        around = [loop for loop in loops if loop.lineno <= spot.row <= (loop.end_lineno or 0)]
        inner = max(around, key=lambda loop: loop.lineno, default=None)
        if inner is None or inner in seen:
            continue
        seen.add(inner)
        found = _former(loops, inner)
        if found is not None:
            name, own, bound = found
            yield FormerName(name, own, Spot(spot.file, spot.function, spot.cls, bound), spot)


def _former(loops: list[ast.For], inner: ast.For) -> tuple[str, str, ast.Name] | None:
    """The name of a former loop that ``inner`` reads, its own one that it does not, and the place."""
    read = _names(inner.body, ast.Load)
    bound = _names(inner.body, ast.Store)
    for former in loops:
        ended = (former.end_lineno or 0) < inner.lineno
        if not ended or ast.dump(former.iter) != ast.dump(inner.iter):
            continue
        for one, two in zip(_targets(former.target), _targets(inner.target), strict=False):
            used = one.id in read and two.id not in read and one.id not in bound
            if used and one.id not in {target.id for target in _targets(inner.target)}:
                return one.id, two.id, one
    return None


def _names(body: list[ast.stmt], context: type[ast.expr_context]) -> set[str]:
    nodes = (node for part in body for node in ast.walk(part) if isinstance(node, ast.Name))
    return {node.id for node in nodes if isinstance(node.ctx, context)}


def _targets(target: ast.expr) -> list[ast.Name]:
    """The names of a loop's target, from left to right."""
    return [node for node in ast.walk(target) if isinstance(node, ast.Name)]
