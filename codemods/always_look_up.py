"""Look alpha up wherever the factors are looked up, not only in the call that loaded them."""

from __future__ import annotations

import libcst as cst

from lorascale_lint.facts.terms import Attr, Call, Choice, Term
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.model import Model


@repair
def always_look_up(model: Model, filename: str, choice: Choice, looked_up: Term) -> Fix | None:
    """``store.get(key) if just_loaded else None`` becomes ``store.get(key)``.

    Safe: a missing alpha and one that equals the rank give the same scale.
    """
    if (
        not isinstance(looked_up, Call)
        or not isinstance(looked_up.func, Attr)
        or looked_up.func.name != "get"
    ):
        return None  # a missing key would raise where nothing was looked up before
    rewrites = Rewrites(model.read_source)
    rewrite = rewrites.of(filename)
    if rewrite.find(choice.loc, cst.IfExp) is None:
        return None
    kept = "body" if looked_up is choice.then else "orelse"
    rewrite.change(choice.loc, cst.IfExp, lambda node: _branch(node, kept))
    return rewrites.fix("safe", "Look alpha up in any case")


def _branch(node: cst.CSTNode, kept: str) -> cst.BaseExpression:
    choice = cst.ensure_type(node, cst.IfExp)
    branch = choice.body if kept == "body" else choice.orelse
    return branch.with_changes(lpar=choice.lpar, rpar=choice.rpar) if choice.lpar else branch
