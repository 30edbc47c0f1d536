"""Look alpha up wherever the factors are looked up, not only in the call that loaded them."""

from __future__ import annotations

from collections.abc import Callable

import libcst as cst

from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.ledger.spots import Spot


@repair
def always_look_up(read_source: Callable[[str], bytes], flag: Spot) -> Fix | None:
    """``store.get(key) if just_loaded else None`` becomes ``store.get(key)``.

    Safe: a missing alpha and one that equals the rank give the same scale.
    """
    rewrites = Rewrites(read_source)
    rewrite = rewrites.of(flag.file.filename)
    found = rewrite.enclosing(flag.loc, cst.IfExp)
    if found is None or _looked_up(found[0]) is None:
        return None
    rewrite.change(found[1], cst.IfExp, lambda node: _looked_up(cst.ensure_type(node, cst.IfExp)) or node)
    return rewrites.fix("safe", "Look alpha up in any case")


def _looked_up(choice: cst.IfExp) -> cst.BaseExpression | None:
    """The branch that calls ``get``, if the other is None; another look-up might raise."""
    for branch, other in ((choice.body, choice.orelse), (choice.orelse, choice.body)):
        match branch, other:
            case cst.Call(func=cst.Attribute(attr=cst.Name(value="get"))), cst.Name(value="None"):
                return branch.with_changes(lpar=choice.lpar, rpar=choice.rpar) if choice.lpar else branch
            case _:
                pass
    return None
