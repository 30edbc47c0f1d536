"""Save the magnitude of a DoRA layer beside its factors."""

from __future__ import annotations

import libcst as cst

from lorascale_lint.codemods.statements import new_statement
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.magnitudes import SavedFactors
from lorascale_lint.provenance.values import Tensor, options


@repair
def save_magnitude(ledger: Ledger, saved: SavedFactors) -> Fix | None:
    """``state["lora_up.weight"] = ...`` gets ``state["dora_scale"] = self.dora_scale`` before it.

    Only where keys are the names of the attributes, so that the magnitude's is known. Unsafe: files
    get another entry.
    """
    first, factor = min(saved.writes, key=lambda write: write.spot.row), saved.of("A")
    function, name = factor.spot.function, saved.made.field
    held = [option.value for option in options(factor.value) if isinstance(option.value, Tensor)]
    if function is None or not function.parameters or not held or factor.guards != first.guards:
        return None
    receiver, attribute = function.parameters[0], held[0].origin.rpartition(".")[2]
    rewrites = Rewrites(ledger.read_source)
    rewrite = rewrites.of(function.file.filename)
    line = rewrite.enclosing(first.spot.loc, cst.SimpleStatementLine)
    written = rewrite.enclosing(factor.spot.loc, cst.Assign)
    if line is None or written is None:
        return None
    target = written[0].targets[0].target
    if not isinstance(target, cst.Subscript):
        return None
    text = rewrite.code(target)
    key = next((part for part in (f"{attribute}.weight", attribute) if part in text), None)
    if key is None or text.count(key) != 1:
        return None
    source = f"{text.replace(key, name)} = {receiver}.{name}\n"
    if saved.condition:
        source = f"if {saved.condition.format(receiver)}:\n    {source}"
    config = rewrite.module.config_for_parsing
    added = new_statement(source, config)
    assert isinstance(added, cst.SimpleStatementLine | cst.If)
    added = added.with_changes(leading_lines=line[0].leading_lines)
    rewrite.change(
        line[1],
        cst.SimpleStatementLine,
        lambda node: cst.FlattenSentinel([added, line[0].with_changes(leading_lines=[])]),
    )
    return rewrites.fix("unsafe", f"Save `{name}`, too")
