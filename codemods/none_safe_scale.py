"""Replace a scaling that a comparison of alpha and rank guards by one that needs no guard."""

from __future__ import annotations

import ast

import libcst as cst

from lorascale_lint.codemods.class_scale import family_scale
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.ledger.families import Family
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot


@repair
def none_safe_scale(ledger: Ledger, family: Family, comparison: Spot) -> Fix | None:
    """``if alpha != rank: delta = delta * (alpha / rank)`` becomes ``delta = delta * self.lora_scale``.

    Where the guarded statement is something else, the comparison itself is made None-safe. Safe:
    both forms multiply by 1 for alpha = rank.
    """
    rewrites = Rewrites(ledger.read_source)
    rewrite = rewrites.of(comparison.file.filename)
    found = rewrite.enclosing(comparison.loc, cst.If)
    node = comparison.node
    if found is None or family.root.file is not comparison.file or not isinstance(node, ast.Compare):
        return None
    left, right = ast.unparse(node.left), ast.unparse(node.comparators[0])
    branch, loc = cst.ensure_type(found[0], cst.If), found[1]
    ratio = f"{left} / {right}" if rewrite.code(branch.body).count(f"{left} / {right}") == 1 else ""
    guarded = (
        _single_statement(branch) if rewrite.find(comparison.loc, cst.Comparison) is branch.test else None
    )
    scale = family_scale(ledger, family, rewrites) if guarded is not None and ratio else None
    if scale is not None and guarded is not None:
        rewrite.change(loc, cst.If, lambda node: _unguarded(node, ratio, scale))
    else:
        test = f"{left} is not None and {right} is not None"
        rewrite.change(
            comparison.loc,
            cst.Comparison,
            lambda node: cst.parse_expression(f"{test} and {rewrite.code(node)}"),
        )
    return rewrites.fix("safe", "Scale without comparing alpha and rank")


def _single_statement(branch: cst.If) -> cst.SimpleStatementLine | None:
    """The one statement of a branch without ``else``."""
    if branch.orelse is not None or len(branch.body.body) != 1:
        return None
    statement = branch.body.body[0]
    return statement if isinstance(statement, cst.SimpleStatementLine) else None


def _unguarded(node: cst.CSTNode, ratio: str, scale: str) -> cst.CSTNode:
    """The guarded statement alone; comments of the branch stand above it."""
    branch = cst.ensure_type(node, cst.If)
    statement = cst.ensure_type(branch.body.body[0], cst.SimpleStatementLine)
    header = branch.body.header if isinstance(branch.body, cst.IndentedBlock) else cst.TrailingWhitespace()
    comment = [] if header.comment is None else [cst.EmptyLine(comment=header.comment)]
    inner = [line for line in statement.leading_lines if line.comment is not None]
    leading = [*branch.leading_lines, *comment, *inner]
    replaced = statement.visit(_ReplaceRatio(ratio, scale))
    assert isinstance(replaced, cst.SimpleStatementLine)
    replaced = replaced.with_changes(leading_lines=leading)
    behind = replaced.trailing_whitespace.comment
    if behind is not None and behind.value.startswith("# type: ignore"):  # None / None is what it ignored
        replaced = replaced.with_changes(trailing_whitespace=cst.TrailingWhitespace())
    return replaced


class _ReplaceRatio(cst.CSTTransformer):
    """Puts the scale in place of the ratio, with the parentheses and comments that stood around it."""

    def __init__(self, ratio: str, scale: str) -> None:
        super().__init__()
        self.ratio = ratio
        self.scale = scale

    def leave_BinaryOperation(
        self, original_node: cst.BinaryOperation, updated_node: cst.BinaryOperation
    ) -> cst.BaseExpression:
        bare = original_node.with_changes(lpar=[], rpar=[])
        if cst.Module(()).code_for_node(bare) == self.ratio:
            return cst.parse_expression(self.scale)
        return updated_node
