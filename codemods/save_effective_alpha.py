"""Save the alpha that a file without any other word about the scale needs."""

from __future__ import annotations

import libcst as cst

from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.knowledge.roles import RANK, role_of
from lorascale_lint.ledger.entries import Store
from lorascale_lint.ledger.ledger import Ledger


@repair
def save_effective_alpha(ledger: Ledger, scale: Store, saved: Store) -> Fix | None:
    """``torch.tensor(alpha)`` becomes ``torch.tensor(self.scale * rank)``, where the scale is set before.

    Unsafe: a checkpoint to resume from may hold the raw alpha.
    """
    function = saved.spot.function
    if function is None or scale.spot.function is not function or scale.spot.end_row >= saved.spot.row:
        return None
    receiver, *names = function.parameters
    ranks = [name for name in names if role_of(name, True) == RANK]
    if not ranks or not set(scale.guards) <= set(saved.guards):
        return None
    rewrites = Rewrites(ledger.read_source)
    rewrite = rewrites.of(function.file.filename)
    call = rewrite.find(saved.spot.loc, cst.Call)
    made = call.args[1].value if isinstance(call, cst.Call) and len(call.args) > 1 else None
    if not isinstance(made, cst.Call) or len(made.args) != 1:
        return None
    product = cst.parse_expression(f"{receiver}.{scale.field} * {ranks[0]}")
    rewrite.change(
        rewrite.positions[made],
        cst.Call,
        lambda node: node.with_changes(args=[made.args[0].with_changes(value=product)]),
    )
    return rewrites.fix("unsafe", "Save the scale times the rank")
