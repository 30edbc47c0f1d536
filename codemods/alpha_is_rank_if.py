"""Take the rank for alpha where a layer has no rank."""

from __future__ import annotations

from functools import partial

import libcst as cst

from lorascale_lint.codemods.statements import function_at, insert_statements, statement_index
from lorascale_lint.facts.terms import Loc
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.model import Model
from lorascale_lint.model.project import Function


@repair
def alpha_is_rank_if(model: Model, function: Function, scale: Loc, saved: Loc, condition: str) -> Fix | None:
    """``self.scale = alpha / rank`` gets ``if <condition>: alpha = rank`` before it and what saves alpha.

    Unsafe: the scale of such a layer changes, and a run that is resumed goes on at another one.
    """
    rewrites = Rewrites(model.read_source)
    rewrite = rewrites.of(function.filename)
    statement = rewrite.enclosing(scale, cst.Assign)
    found = function_at(rewrite, function.facts.loc)
    if statement is None or found is None:
        return None
    match cst.ensure_type(statement[0], cst.Assign).value:
        case cst.BinaryOperation(left=cst.Name(value=alpha), operator=cst.Divide(), right=divisor):
            rank = rewrite.code(divisor)
        case _:
            return None
    if not isinstance(divisor, cst.Name | cst.Attribute):
        return None
    indices = [statement_index(rewrite, found[0].body, place) for place in (scale, saved)]
    if None in indices:
        return None
    index = min(index for index in indices if index is not None)
    row = rewrite.positions[found[0].body.body[index]].row
    known = [
        event.row
        for event in function.events("write", "bind")
        if getattr(event.target, "name", event.name) == rank.rpartition(".")[2]
    ]
    if isinstance(divisor, cst.Attribute) and not any(earlier < row for earlier in known):
        return None
    lines = [f"if {condition}:\n    {alpha} = {rank}\n"]
    config = rewrite.module.config_for_parsing
    insert = partial(insert_statements, index=index, statements=lines, config=config)
    rewrite.change(found[1], cst.FunctionDef, insert)
    return rewrites.fix("unsafe", "Take the rank for alpha if both matrices are full")
