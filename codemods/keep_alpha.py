"""Give a layer that knows no alpha a place for it, from where the other repairs go on."""

from __future__ import annotations

import libcst as cst
import libcst.matchers as m

from lorascale_lint.codemods.statements import new_statement
from lorascale_lint.codemods.thread_alpha_of_loader import can_pass_alpha
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.model import Implementation, Loader, Model
from lorascale_lint.model.project import AttributeWrite, CallSite
from lorascale_lint.model.state import Setter

_NAMES = ("lora_rank", "lora_alpha")


@repair
def keep_alpha(
    model: Model, loader: Loader, site: CallSite, implementation: Implementation, setter: Setter
) -> Fix | None:
    """The constructor sets rank and alpha to None beside the factors.

    What stores, passes and multiplies them is the repair of other rules, in the next rounds; offered where
    those can go on. Safe: nothing reads the new attributes yet.
    """
    rewrites = Rewrites(model.read_source)
    start = _start(model, implementation, setter)
    if start is None or not can_pass_alpha(model, loader, site, implementation, setter, rewrites):
        return None
    rewrite = rewrites.of(start.function.filename)
    line = rewrite.enclosing(start.event.loc, cst.SimpleStatementLine)
    if line is None or any(name in rewrite.text for name in _NAMES):
        return None
    hints = (": int | None", ": float | None") if m.findall(line[0], m.AnnAssign()) else ("", "")
    config = rewrite.module.config_for_parsing
    added = [
        new_statement(f"self.{name}{hint} = None", config) for name, hint in zip(_NAMES, hints, strict=True)
    ]
    rewrite.change(line[1], cst.SimpleStatementLine, lambda node: cst.FlattenSentinel([node, *added]))
    return rewrites.fix("safe", "Keep rank and alpha in the layer")


def _start(model: Model, implementation: Implementation, setter: Setter) -> AttributeWrite | None:
    """Where the constructor of the layer first sets a factor, the later one of both."""
    names = {getattr(write.event.target, "name", "") for write in setter.factors.values()}
    starts = [
        write
        for name in names
        for write in model.project.writes(implementation.root, name)
        if write.on_self
        and write.function.facts.name == "__init__"
        and write.function.owner is setter.function.owner
        and write.function.receiver == "self"
        and not write.event.guards
    ]
    return max(starts, key=lambda write: write.event.row) if len(starts) == 2 else None
