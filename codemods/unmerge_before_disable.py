"""Unmerge an adapter before the layer is told that it has none."""

from __future__ import annotations

import libcst as cst

from lorascale_lint.codemods.statements import new_statement
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot


@repair
def unmerge_before_disable(
    ledger: Ledger, disabled: Spot, merged: str, unmerge: str, condition: str | None = None
) -> Fix | None:
    """``layer.disable_lora = True`` becomes ``if layer.merged: layer.unmerge_lora_weights()`` and that.

    ``disabled`` is the target. With a ``condition`` that is false while adapters are accumulated, a layer
    which has some stays as it is. Unsafe by definition: the output of such a layer changes (the former
    adapter leaves it).
    """
    rewrites = Rewrites(ledger.read_source)
    rewrite = rewrites.of(disabled.file.filename)
    line = rewrite.enclosing(disabled.loc, cst.SimpleStatementLine)
    written = rewrite.find(disabled.loc, cst.Attribute)
    if line is None or written is None or disabled.function is None:
        return None
    layer = rewrite.code(cst.ensure_type(written, cst.Attribute).value)
    config = rewrite.module.config_for_parsing
    asked = "" if condition is None else f" and {condition}"
    guard = new_statement(f"if {layer}.{merged}{asked}:\n    {layer}.{unmerge}()\n", config)
    if condition is not None:
        (statement,) = cst.ensure_type(line[0], cst.SimpleStatementLine).body
        assigned = cst.ensure_type(statement, cst.Assign).value
        rewrite.replace(assigned, cst.parse_expression(f"not {layer}.{merged}"))
    rewrite.change(line[1], cst.SimpleStatementLine, lambda node: cst.FlattenSentinel([guard, node]))
    return rewrites.fix("unsafe", f"Call `{unmerge}()` first")
