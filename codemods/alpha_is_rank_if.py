"""Take the rank for alpha where a layer has no rank."""

from __future__ import annotations

from functools import partial

import libcst as cst

from lorascale_lint.codemods.statements import insert_statements, statement_index
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.ledger.entries import Store
from lorascale_lint.ledger.kronecker import Kronecker
from lorascale_lint.ledger.ledger import Ledger


@repair
def alpha_is_rank_if(ledger: Ledger, scale: Store, layer: Kronecker) -> Fix | None:
    """``self.scale = alpha / rank`` gets ``if <both are full>: alpha = rank`` before it and what saves alpha.

    Unsafe: the scale of such a layer changes, and a run that is resumed goes on at another one.
    """
    function, saved = scale.spot.function, layer.saved
    made = [store.spot.function for store in layer.full.values()]
    if (
        function is None
        or saved is None
        or any(other is not function for other in (saved.spot.function, *made))
    ):
        return None
    rewrites = Rewrites(ledger.read_source)
    rewrite = rewrites.of(function.file.filename)
    statement = rewrite.enclosing(scale.spot.loc, cst.Assign)
    found = rewrite.enclosing(scale.spot.loc, cst.FunctionDef)
    if statement is None or found is None:
        return None
    match cst.ensure_type(statement[0], cst.Assign).value:
        case cst.BinaryOperation(left=cst.Name(value=alpha), operator=cst.Divide(), right=divisor):
            rank = rewrite.code(divisor)
        case _:
            return None
    if not isinstance(divisor, cst.Name | cst.Attribute):
        return None
    indices = [statement_index(rewrite, found[0].body, place) for place in (scale.spot.loc, saved.spot.loc)]
    if None in indices:
        return None
    index = min(index for index in indices if index is not None)
    row = rewrite.positions[found[0].body.body[index]].row
    known = [store.spot.row for store in layer.stores if store.field == rank.rpartition(".")[2]]
    if isinstance(divisor, cst.Attribute) and not any(earlier < row for earlier in known):
        return None
    receiver = function.parameters[0]
    condition = " and ".join(layer.question(part).format(receiver) for part in ("1", "2"))
    lines = [f"if {condition}:\n    {alpha} = {rank}\n"]
    config = rewrite.module.config_for_parsing
    insert = partial(insert_statements, index=index, statements=lines, config=config)
    rewrite.change(found[1], cst.FunctionDef, insert)
    return rewrites.fix("unsafe", "Take the rank for alpha if both matrices are full")
