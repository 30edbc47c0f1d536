"""Fold alpha / rank of a file into a factor that is written under a new name."""

from __future__ import annotations

import libcst as cst

from lorascale_lint.codemods.read_alpha_beside import (
    assigned_subscript,
    free_names,
    holds_whole_file,
    split_key,
)
from lorascale_lint.codemods.renamed_keys import REMOVES
from lorascale_lint.codemods.statements import new_statement
from lorascale_lint.facts.terms import Event
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrite, Rewrites
from lorascale_lint.model import Model
from lorascale_lint.model.project import Function


@repair
def fold_alpha(model: Model, function: Function, write: Event) -> Fix | None:
    """``out[new] = sd[key]`` becomes ``out[new] = sd[key] * scale``, with the scale of the file before.

    For factor A, whose rows are the rank, or for every tensor of a loop over the file. Safe: an alpha that
    equals the rank gives 1, and so does a missing one.
    """
    rewrites = Rewrites(model.read_source)
    rewrite = rewrites.of(function.filename)
    around = rewrite.enclosing(write.loc, cst.SimpleStatementLine)
    scope = rewrite.enclosing(write.loc, cst.FunctionDef)
    names = free_names(function, "rank", "scale")
    if around is None or scope is None or names is None or REMOVES.search(rewrite.code(scope[0])):
        return None
    line = cst.ensure_type(around[0], cst.SimpleStatementLine)
    match line.body:
        case [cst.Assign(targets=[cst.AssignTarget(target=cst.Subscript())], value=value)]:
            pass
        case _:
            return None
    rank, scale = names
    looked_up = _looked_up(model, rewrite, function, value)
    if looked_up is not None:
        container, key = looked_up
        added = [
            f"{rank} = {rewrite.code(value)}.shape[0]",
            f"{scale} = float({container}.get({key}, {rank})) / {rank}",
        ]
    else:
        items = _loop(model, rewrite, function, line, value)
        if items is None:
            return None
        container, key, tensor = items
        alpha = f'{key}.split(".lora_down")[0] + ".alpha"'
        added = [
            f"{scale} = 1.0",
            f'if "lora_down" in {key}:\n'
            f"    {rank} = {tensor}.shape[0]\n"
            f"    {scale} = float({container}.get({alpha}, {rank})) / {rank}\n",
        ]
    product = cst.BinaryOperation(left=value, operator=cst.Multiply(), right=cst.Name(scale))
    rewrite.replace(value, product)
    config = rewrite.module.config_for_parsing
    statements = [new_statement(text, config) for text in added]
    first = statements[0].with_changes(leading_lines=line.leading_lines)
    rewrite.change(
        around[1],
        cst.SimpleStatementLine,
        lambda node: cst.FlattenSentinel(
            [
                first,
                *statements[1:],
                cst.ensure_type(node, cst.SimpleStatementLine).with_changes(leading_lines=[]),
            ]
        ),
    )
    return rewrites.fix("safe", "Fold alpha / rank of the file into the factor")


def _looked_up(
    model: Model, rewrite: Rewrite, function: Function, value: cst.BaseExpression
) -> tuple[str, str] | None:
    """The file's dictionary and the key of alpha in it, for ``sd[key]`` or a local that is bound to that."""
    if isinstance(value, cst.Name):
        bound = [event for event in function.events("bind") if event.name == value.value]
        found = assigned_subscript(rewrite, bound[0].loc) if len(bound) == 1 else None
        if found is None or bound[0].row >= rewrite.positions[value].row:
            return None
        value = found[2]
    if not isinstance(value, cst.Subscript) or not isinstance(value.value, cst.Name):
        return None
    key = split_key(rewrite, value, ".lora_")
    if key is None or not holds_whole_file(model, function, value.value.value):
        return None
    return value.value.value, key


def _loop(
    model: Model,
    rewrite: Rewrite,
    function: Function,
    line: cst.SimpleStatementLine,
    value: cst.BaseExpression,
) -> tuple[str, str, str] | None:
    """Dictionary, key and tensor of the loop over a whole file whose tensor ``line`` writes as it is."""
    if not isinstance(value, cst.Name) or "lora_down" not in rewrite.text:
        return None
    place = rewrite.positions[line]
    for node, _ in rewrite.tree.nodes(cst.For):
        match node:
            case cst.For(
                target=cst.Tuple(
                    elements=[
                        cst.Element(value=cst.Name(value=key)),
                        cst.Element(value=cst.Name(value=tensor)),
                    ]
                ),
                iter=cst.Call(
                    func=cst.Attribute(value=cst.Name(value=name), attr=cst.Name(value="items")), args=[]
                ),
            ) if tensor == value.value:
                around = rewrite.positions[node]
                rebound = [
                    e for e in function.events("bind") if e.name in (key, tensor) and e.row > around.row
                ]
                if around.row < place.row <= around.end_row and not rebound:
                    return (name, key, tensor) if holds_whole_file(model, function, name) else None
            case _:
                pass
    return None
