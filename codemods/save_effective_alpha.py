"""Save the alpha that a file without any other word about the scale needs."""

from __future__ import annotations

import libcst as cst

from lorascale_lint.facts.terms import Attr, Event
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.model import Model
from lorascale_lint.model.project import Function
from lorascale_lint.model.scale import RANK
from lorascale_lint.model.vocabulary import number_role


@repair
def save_effective_alpha(
    model: Model, function: Function, scaled: tuple[Function, Event], saved: Event
) -> Fix | None:
    """``torch.tensor(alpha)`` becomes ``torch.tensor(self.scale * rank)``, where the scale is set before.

    Unsafe: a checkpoint to resume from may hold the raw alpha.
    """
    where, event = scaled
    ranks = [p.name for p in function.facts.parameters if number_role(p.name, True) == RANK]
    if where is not function or event.end_row >= saved.row or not ranks:
        return None
    known = {(id(guard.test), guard.holds) for guard in saved.guards}
    if not isinstance(event.target, Attr) or any((id(g.test), g.holds) not in known for g in event.guards):
        return None
    rewrites = Rewrites(model.read_source)
    rewrite = rewrites.of(function.filename)
    call = rewrite.find(saved.value.loc, cst.Call)
    made = call.args[1].value if isinstance(call, cst.Call) and len(call.args) > 1 else None
    if not isinstance(made, cst.Call) or len(made.args) != 1:
        return None
    product = cst.parse_expression(f"{function.receiver}.{event.target.name} * {ranks[0]}")
    rewrite.change(
        rewrite.positions[made],
        cst.Call,
        lambda node: node.with_changes(args=[made.args[0].with_changes(value=product)]),
    )
    return rewrites.fix("unsafe", "Save the scale times the rank")
