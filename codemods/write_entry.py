"""Write to an entry of a table where the table itself is overwritten."""

from __future__ import annotations

from collections.abc import Callable

import libcst as cst

from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.ledger.spots import Spot


@repair
def write_entry(read_source: Callable[[str], bytes], bound: Spot, table: str) -> Fix | None:
    """``alphas = rank`` under ``if name not in alphas`` becomes ``alphas[name] = rank``.

    Safe: the rank is what a missing alpha means, and the table stays a table.
    """
    rewrites = Rewrites(read_source)
    rewrite = rewrites.of(bound.file.filename)
    assign = rewrite.enclosing(bound.loc, cst.Assign)
    branch = rewrite.enclosing(bound.loc, cst.If)
    if assign is None or branch is None:
        return None
    statement = cst.ensure_type(assign[0], cst.Assign)
    name = _asked_name(cst.ensure_type(branch[0], cst.If).test, table)
    target = statement.targets[0].target
    if len(statement.targets) != 1 or name is None or not isinstance(target, cst.Name):
        return None
    entry = cst.parse_expression(f"{target.value}[{name}]")
    rewrite.change(
        assign[1],
        cst.Assign,
        lambda node: cst.ensure_type(node, cst.Assign).with_changes(
            targets=[statement.targets[0].with_changes(target=entry)]
        ),
    )
    return rewrites.fix("safe", f"Write to `{target.value}[{name}]`")


def _asked_name(test: cst.BaseExpression, table: str) -> str | None:
    """``key`` of ``key not in table``."""
    match test:
        case cst.Comparison(
            left=cst.Name(value=name),
            comparisons=[
                cst.ComparisonTarget(
                    operator=cst.NotIn(),
                    comparator=cst.Name(value=asked)
                    | cst.Call(func=cst.Attribute(value=cst.Name(value=asked), attr=cst.Name(value="keys"))),
                )
            ],
        ) if asked == table:
            return name
        case _:
            return None
