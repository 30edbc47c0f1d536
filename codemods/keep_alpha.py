"""Give a layer that knows no alpha a place for it, from where the other repairs go on."""

from __future__ import annotations

import libcst as cst

from lorascale_lint.codemods.statements import new_statement
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.fixing.tree import inside
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.loaders import Loading, loadings
from lorascale_lint.ledger.spots import Spot

_NAMES = ("lora_rank", "lora_alpha")


@repair
def keep_alpha(ledger: Ledger, loading: Loading) -> Fix | None:
    """The constructor sets rank and alpha to None beside the factors.

    What stores, passes and multiplies them is the repair of other rules, in the next rounds; offered where
    those can go on. Safe: nothing reads the new attributes yet.
    """
    start = _start(ledger, loading)
    if start is None or not _can_pass_alpha(ledger, loading):
        return None
    rewrites = Rewrites(ledger.read_source)
    rewrite = rewrites.of(start.file.filename)
    line = rewrite.enclosing(start.loc, cst.SimpleStatementLine)
    if line is None or any(name in rewrite.text for name in _NAMES):
        return None
    hints = (": int | None", ": float | None") if inside(line[0], cst.AnnAssign) else ("", "")
    config = rewrite.module.config_for_parsing
    added = [
        new_statement(f"self.{name}{hint} = None", config) for name, hint in zip(_NAMES, hints, strict=True)
    ]
    rewrite.change(line[1], cst.SimpleStatementLine, lambda node: cst.FlattenSentinel([node, *added]))
    return rewrites.fix("safe", "Keep rank and alpha in the layer")


def _start(ledger: Ledger, loading: Loading) -> Spot | None:
    """Where the constructor of the layer first sets a factor, the later one of both."""
    names = {store.field for store in loading.setter.factors.values()}
    owner = loading.setter.function.owner
    starts = {
        store.field: store.spot
        for store in ledger.stores
        if store.field in names
        and store.spot.function is not None
        and store.spot.function.name == "__init__"
        and store.spot.function.owner is owner
        and not store.guards
    }
    return max(starts.values(), key=lambda spot: spot.row) if len(starts) == 2 else None


def _can_pass_alpha(ledger: Ledger, loading: Loading) -> bool:
    """Could `thread_alpha` reach the layer if it kept an alpha? Only if this is its one loader."""
    name, place = loading.setter.function.name, loading.handed.place
    overridden = [cls for cls in loading.family.members if name in cls.methods]
    loaders = [other for other in loadings(ledger) if other.setter.function is loading.setter.function]
    return len(overridden) == 1 and len(loaders) == 1 and place is not None and place.holds_file(ledger)
