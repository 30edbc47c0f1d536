"""Save the magnitude of a DoRA layer beside its factors."""

from __future__ import annotations

import libcst as cst

from lorascale_lint.codemods.statements import new_statement
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.model import Model
from lorascale_lint.model.magnitudes import SavedFactors


@repair
def save_magnitude(model: Model, saved: SavedFactors) -> Fix | None:
    """``state["lora_up.weight"] = ...`` gets ``state["dora_scale"] = self.dora_scale`` before it.

    Only where keys are the names of the attributes, so that the magnitude's is known. Unsafe: files
    get another entry.
    """
    rewrites = Rewrites(model.read_source)
    rewrite = rewrites.of(saved.function.filename)
    first = rewrite.enclosing(saved.first.loc, cst.SimpleStatementLine)
    factor = rewrite.enclosing(saved.factor.loc, cst.Assign)
    if first is None or factor is None:
        return None
    target = cst.ensure_type(factor[0], cst.Assign).targets[0].target
    receiver, name = saved.function.receiver, saved.magnitude
    if not isinstance(target, cst.Subscript) or receiver is None:
        return None
    text = rewrite.code(target)
    key = next((part for part in (f"{saved.attribute}.weight", saved.attribute) if part in text), None)
    if key is None or text.count(key) != 1:
        return None
    source = f"{text.replace(key, name)} = {receiver}.{name}\n"
    if saved.condition:
        source = f"if {saved.condition.format(receiver)}:\n    {source}"
    config = rewrite.module.config_for_parsing
    line = cst.ensure_type(first[0], cst.SimpleStatementLine)
    added = new_statement(source, config)
    assert isinstance(added, cst.SimpleStatementLine | cst.If)
    added = added.with_changes(leading_lines=line.leading_lines)
    rewrite.change(
        first[1],
        cst.SimpleStatementLine,
        lambda node: cst.FlattenSentinel([added, line.with_changes(leading_lines=[])]),
    )
    return rewrites.fix("unsafe", f"Save `{name}`, too")
