"""Divide by the root of the rank where an adapter's configuration says rsLoRA."""

from __future__ import annotations

import libcst as cst

from lorascale_lint.codemods.statements import root_of
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrite, Rewrites
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.meetings import Meeting
from lorascale_lint.sources.loc import Loc


@repair
def honour_rslora(ledger: Ledger, meeting: Meeting) -> Fix | None:
    """``config.lora_alpha / config.r`` gets ``sqrt(config.r)`` as its divisor if ``config.use_rslora``.

    Where alpha and rank part before they are divided, alpha is multiplied by ``sqrt(config.r)`` instead,
    which comes to the same. Unsafe: an rsLoRA adapter with alpha = rank changes.
    """
    if meeting.rank is None:
        return None
    alpha, rank = meeting.alpha.spot, meeting.rank.spot
    rewrites = Rewrites(ledger.read_source)
    rewrite = rewrites.of(alpha.file.filename)
    read = _field(rewrite, alpha.loc)
    if read is None or alpha.file is not rank.file:
        return None
    config, field = read
    other = _field(rewrite, rank.loc)
    if other is None or other[0] != config or _is_binary_around(rewrite, rank.loc, cst.Power):
        return None
    flag = f'{config}.get("use_rslora", False)' if field else f'getattr({config}, "use_rslora", False)'
    r = rewrite.code(_found(rewrite, rank.loc))
    root = root_of(rewrite, r)
    if not meeting.told and _divides(rewrite, alpha.loc, rank.loc):
        place, name, otherwise, new = rank.loc, "rank_divisor", r, "rank_divisor"
    elif alpha.function is rank.function and not _is_binary_around(rewrite, alpha.loc, cst.Divide):
        text = rewrite.code(_found(rewrite, alpha.loc))
        place, name, otherwise, new = alpha.loc, "rslora_factor", "1", f"{text} * rslora_factor"
    else:
        return None
    line = rewrite.enclosing(place, cst.SimpleStatementLine)
    if line is None or name in rewrite.text or _is_nested(rewrite, place):
        return None
    statement = f"{name} = {root} if {flag} else {otherwise}"
    node = _found(rewrite, place)
    rewrite.change(place, type(node), lambda _: cst.parse_expression(new))
    rewrite.change(line[1], cst.SimpleStatementLine, lambda node: _preceded(node, statement))
    return rewrites.fix("unsafe", "Divide by sqrt(r) for an rsLoRA adapter")


def _found(rewrite: Rewrite, loc: Loc) -> cst.CSTNode:
    node = rewrite.find(loc, cst.Subscript) or rewrite.find(loc, cst.Attribute)
    assert node is not None
    return node


def _field(rewrite: Rewrite, loc: Loc) -> tuple[str, bool] | None:
    """The configuration whose field is read at ``loc``, as source, and whether it is a dictionary."""
    node = rewrite.find(loc, cst.Subscript) or rewrite.find(loc, cst.Attribute)
    if isinstance(node, cst.Subscript | cst.Attribute):
        return rewrite.code(node.value), isinstance(node, cst.Subscript)
    return None


def _is_nested(rewrite: Rewrite, loc: Loc) -> bool:
    """Is the place inside a lambda or comprehension, whose names a statement before it can't read?"""
    return any(rewrite.enclosing(loc, kind) is not None for kind in (cst.Lambda, cst.CompFor, cst.BaseComp))


def _preceded(node: cst.CSTNode, statement: str) -> cst.FlattenSentinel[cst.CSTNode]:
    line = cst.ensure_type(node, cst.SimpleStatementLine)
    first = cst.ensure_type(cst.parse_statement(statement), cst.SimpleStatementLine)
    return cst.FlattenSentinel(
        [first.with_changes(leading_lines=line.leading_lines), line.with_changes(leading_lines=[])]
    )


def _divides(rewrite: Rewrite, alpha: Loc, rank: Loc) -> bool:
    """Is there the quotient of exactly these two?"""
    return any(
        isinstance(node.operator, cst.Divide)
        and rewrite.positions[node.left] == alpha
        and rewrite.positions[node.right] == rank
        for node, _ in rewrite.tree.nodes(cst.BinaryOperation)
    )


def _is_binary_around(rewrite: Rewrite, loc: Loc, operator: type[cst.BaseBinaryOp]) -> bool:
    return any(
        isinstance(node.operator, operator)
        and loc in (rewrite.positions[node.left], rewrite.positions[node.right])
        for node, _ in rewrite.tree.nodes(cst.BinaryOperation)
    )
