"""Adapters that are fused into a pipeline's weights, and taken off without being unfused."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.interfaces import ADAPTER_STEPS, EXPORTER, AdapterStep
from lorascale_lint.knowledge.inverses import stem, taken_back
from lorascale_lint.knowledge.pipelines import PUTS_WEIGHTS_BACK
from lorascale_lint.ledger.entries import Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.linking.definitions import FunctionInfo, dotted


@immutable(frozen=True, slots=True, eq=False)
class FusedAndUnloaded:
    """``fuse`` writes the delta into the weights of ``pipeline``; ``unload`` takes off the layers alone."""

    pipeline: str
    fuse: Use
    unload: Use

    @property
    def is_certain(self) -> bool:
        """Does the pipeline outlive the call? One that is given may be another each time."""
        function = self.fuse.spot.function
        paired = function is not self.unload.spot.function
        return paired or (function is not None and self.pipeline.partition(".")[0] not in _given(function))


def _given(function: FunctionInfo) -> set[str]:
    return set(function.parameters) - {"self"}


def fused_and_unloaded(ledger: Ledger) -> Iterator[FusedAndUnloaded]:
    """One for each call that is meant to undo what a fused adapter does."""
    undone = {use.spot.file for use in ledger.uses if use.called in PUTS_WEIGHTS_BACK}
    by_file: dict[object, list[Use]] = defaultdict(list)
    for use in ledger.uses:
        file = use.spot.file
        if use.spot.chain or use.callee is not None or file.is_test or file in undone:
            continue
        if EXPORTER in file.libraries and ADAPTER_STEPS.get(use.called) in (*_STEPS, AdapterStep.LOAD):
            by_file[file].append(use)
    for uses in by_file.values():
        seen: set[ast.AST] = set()
        for fuse in uses:
            for unload in uses:
                if not _are(fuse, unload) or unload.spot.node in seen:
                    continue
                if _undoes(fuse, unload, uses):
                    seen.add(unload.spot.node)
                    yield FusedAndUnloaded(fuse.receiver, fuse, unload)


_STEPS = (AdapterStep.MERGE, AdapterStep.UNLOAD)


def _are(fuse: Use, unload: Use) -> bool:
    steps = (ADAPTER_STEPS.get(fuse.called), ADAPTER_STEPS.get(unload.called))
    same = fuse.receiver == unload.receiver != ""
    return same and steps == _STEPS and fuse.called.startswith("fuse") and unload.called != "unload"


def _undoes(fuse: Use, unload: Use, uses: list[Use]) -> bool:
    """Does the unload stand where the fused adapter was in use, and the same pipeline goes on?

    To fuse and then to take off the layers saves memory, and is no undoing.
    """
    put, taken = fuse.spot.function, unload.spot.function
    if put is None or taken is None:
        return False
    receiver = fuse.receiver
    if put is not taken:
        if _makes_anew(taken, receiver) or put.owner is not taken.owner:
            return False
        return taken_back(taken.name) is not None and taken_back(taken.name) == stem(put.name)
    if _makes_anew(put, receiver):
        return False
    if unload.spot.row < fuse.spot.row:  # the adapter of the former call
        loads = [u for u in uses if ADAPTER_STEPS.get(u.called) is AdapterStep.LOAD]
        return any(
            u.spot.function is put and unload.spot.row < u.spot.row < fuse.spot.row and u.receiver == receiver
            for u in loads
        )
    calls = (n for n in ast.walk(put.node) if isinstance(n, ast.Call) and dotted(n.func) == receiver)
    return any(fuse.spot.row < node.lineno < unload.spot.row for node in calls)


def _makes_anew(function: FunctionInfo, receiver: str) -> bool:
    """Does the function put another pipeline in the place, or delete it?"""
    return any(
        isinstance(node, ast.Name | ast.Attribute)
        and not isinstance(node.ctx, ast.Load)
        and dotted(node) == receiver
        for node in ast.walk(function.node)
    )
