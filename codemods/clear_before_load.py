"""Forget an adapter's former tensors before a file is loaded under its name."""

from __future__ import annotations

import libcst as cst

from lorascale_lint.codemods.statements import new_statement
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot


@repair
def clear_before_load(ledger: Ledger, load: Spot, entry_at: Spot) -> Fix | None:
    """Add ``adapters[name] = {}`` in front of the statement that reads the file.

    Safe: a first load finds the entry empty anyway, a second one raised or kept stale tensors.
    """
    rewrites = Rewrites(ledger.read_source)
    rewrite = rewrites.of(load.file.filename)
    entry = rewrite.find(entry_at.loc, cst.Subscript)
    line = rewrite.enclosing(load.loc, cst.SimpleStatementLine)
    if entry is None or line is None:
        return None
    statement = new_statement(f"{rewrite.code(entry)} = {{}}", rewrite.module.config_for_parsing)
    rewrite.change(
        line[1],
        cst.SimpleStatementLine,
        lambda node: cst.FlattenSentinel([cst.ensure_type(node, cst.SimpleStatementLine), statement]),
    )
    return rewrites.fix("safe", "Forget the former tensors of this name")
