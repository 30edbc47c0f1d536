"""Make a saved weight a copy, and put a copy of it back."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst

from lorascale_lint.codemods.statements import append_argument
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrite, Rewrites
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.sources.loc import Loc


@repair
def copy_backup(ledger: Ledger, calls: Sequence[Spot]) -> Fix | None:
    """``weight.to("cpu")`` becomes ``weight.to("cpu", copy=True)``, and so does what puts it back.

    Unsafe by definition: unmerging on the CPU gives another weight, the right one, and takes its memory.
    """
    rewrites = Rewrites(ledger.read_source)
    places = dict.fromkeys((spot.file.filename, spot.loc) for spot in calls)
    if not all(_copied(rewrites.of(filename), loc) for filename, loc in places):
        return None
    return rewrites.fix("unsafe", "Copy the weight")


def _copied(rewrite: Rewrite, call: Loc) -> bool:
    if rewrite.find(call, cst.Call) is None:
        return False
    rewrite.change(call, cst.Call, _copy)
    return True


def _copy(node: cst.CSTNode) -> cst.Call:
    call = cst.ensure_type(node, cst.Call)
    method = cst.ensure_type(call.func, cst.Attribute)
    if method.attr.value == "cpu":
        call = call.with_changes(
            func=method.with_changes(attr=cst.Name("to")), args=[cst.Arg(cst.SimpleString('"cpu"'))]
        )
    return append_argument(call, "copy", "True")
