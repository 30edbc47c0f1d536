"""Fold alpha / rank of a file into a factor that is written under a new name."""

from __future__ import annotations

import libcst as cst

from lorascale_lint.codemods.alpha_keys import assigned_subscript, split_key
from lorascale_lint.codemods.statements import new_statement
from lorascale_lint.codemods.whole_files import bound_once, free_names, holds_file, is_bound, removes_entries
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrite, Rewrites
from lorascale_lint.ledger.entries import KeyWrite, Trial
from lorascale_lint.ledger.ledger import Ledger


@repair
def fold_alpha(ledger: Ledger, trial: Trial, write: KeyWrite) -> Fix | None:
    """``out[new] = sd[key]`` becomes ``out[new] = sd[key] * scale``, with the scale of the file before.

    For factor A, whose rows are the rank, or for every tensor of a loop over the file. Safe: an alpha that
    equals the rank gives 1, and so does a missing one.
    """
    rewrites = Rewrites(ledger.read_source)
    rewrite = rewrites.of(write.spot.file.filename)
    around = rewrite.enclosing(write.spot.loc, cst.SimpleStatementLine)
    function = rewrite.enclosing(write.spot.loc, cst.FunctionDef)
    if around is None or function is None or removes_entries(rewrite, function[0]):
        return None
    scope = function[0]
    names = free_names(rewrite, scope, "rank", "scale")
    line = cst.ensure_type(around[0], cst.SimpleStatementLine)
    match line.body:
        case [cst.Assign(targets=[cst.AssignTarget(target=cst.Subscript())], value=value)]:
            pass
        case _:
            return None
    if names is None:
        return None
    rank, scale = names
    looked_up = _looked_up(rewrite, scope, trial, value)
    if looked_up is not None:
        container, key = looked_up
        added = [
            f"{rank} = {rewrite.code(value)}.shape[0]",
            f"{scale} = float({container}.get({key}, {rank})) / {rank}",
        ]
    else:
        items = _loop(rewrite, scope, trial, line, value)
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
    rewrite: Rewrite, scope: cst.CSTNode, trial: Trial, value: cst.BaseExpression
) -> tuple[str, str] | None:
    """The file's dictionary and the key of alpha in it, for ``sd[key]`` or a local that is bound to that."""
    if isinstance(value, cst.Name):
        bound = bound_once(rewrite, scope, value.value)
        found = None if bound is None else assigned_subscript(rewrite, rewrite.positions[bound])
        if bound is None or found is None or rewrite.positions[bound].row >= rewrite.positions[value].row:
            return None
        value = found[2]
    if not isinstance(value, cst.Subscript) or not isinstance(value.value, cst.Name):
        return None
    key = split_key(rewrite, value, ".lora_")
    if key is None or not holds_file(rewrite, scope, trial, value.value.value):
        return None
    return value.value.value, key


def _loop(
    rewrite: Rewrite,
    scope: cst.CSTNode,
    trial: Trial,
    line: cst.SimpleStatementLine,
    value: cst.BaseExpression,
) -> tuple[str, str, str] | None:
    """Dictionary, key and tensor of the loop over a whole file whose tensor ``line`` writes as it is."""
    if not isinstance(value, cst.Name) or "lora_down" not in rewrite.text:
        return None
    place = rewrite.positions[line]
    for node, around in rewrite.tree.nodes(cst.For):
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
            ) if tensor == value.value and around.row < place.row <= around.end_row:
                if any(is_bound(rewrite, node, own) for own in (key, tensor)):
                    return None
                return (name, key, tensor) if holds_file(rewrite, scope, trial, name) else None
            case _:
                pass
    return None
