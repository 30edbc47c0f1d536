"""What a module keeps in its state, and so in the files that are saved of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.knowledge.interfaces import STATE_CALLS, STATE_CLASSES
from lorascale_lint.ledger.entries import Store
from lorascale_lint.ledger.ledger import Ledger


def saved_states(ledger: Ledger) -> Iterator[Store]:
    """Fields that are persistent buffers or parameters."""
    made = {
        (use.spot.file.filename, use.spot.statement) for use in ledger.uses if use.called in STATE_CLASSES
    }
    for store in ledger.stores:
        node = store.spot.node
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            if name in STATE_CALLS and not _is_passing(node):
                yield store
        elif (store.spot.file.filename, store.spot.statement) in made:
            yield store


def _is_passing(call: ast.Call) -> bool:
    """Is the buffer left out of the state (``persistent=False``)?"""
    given = [keyword.value for keyword in call.keywords if keyword.arg == "persistent"] + call.args[2:3]
    return any(isinstance(value, ast.Constant) and value.value is False for value in given)
