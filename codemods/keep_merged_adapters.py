"""Keep every adapter that a layer has merged, so that it can merge them again."""

from __future__ import annotations

import ast

import libcst as cst

from lorascale_lint.codemods.statements import function_at, insert_statements, new_statement
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrite, Rewrites
from lorascale_lint.fixing.tree import inside
from lorascale_lint.ledger.accumulations import Accumulation
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import loc_of
from lorascale_lint.ledger.switches import constant_flags
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.sources.loc import Loc

_LIST = "merged_adapters"


@repair
def keep_merged_adapters(ledger: Ledger, found: Accumulation) -> Fix | None:
    """The setter notes what it is given, and a merge into the base weight gives it all of that again.

    Unsafe by definition: merging again gives another weight, that of all adapters.
    """
    setter, merge, owner = found.setter.function, found.merge, found.merge.owner
    merged = constant_flags(ledger, True)[merge] & constant_flags(ledger, False)[found.unmerge]
    if owner is None or setter.owner is not owner or len(merged) != 1 or not found.restores:
        return None
    if not _takes_plain_arguments(found) or _is_overridden(setter) or _is_overridden(merge):
        return None
    rewrites = Rewrites(ledger.read_source)
    rewrite = rewrites.of(merge.file.filename)
    (flag,) = merged
    init = owner.methods.get("__init__")
    starts = {
        store.spot.loc for store in ledger.stores if store.field == flag and store.spot.function is init
    }
    if _LIST in rewrite.text or len(starts) != 1 or init is None:
        return None
    names = [name for name in setter.parameters[1:] if name != found.flag]
    accumulating = f"{found.flag}={found.accumulates}"
    guard = found.unmerging.spot if found.unmerging.spot.function is merge else None
    added = (
        _start_empty(rewrite, starts.pop()),
        _insert(
            rewrite,
            setter,
            None,
            f"if {found.condition(found.flag)} or not self.{flag}:\n    self.{_LIST} = []\n",
            f"self.{_LIST}.append(({', '.join(names)}))",
        ),
        _insert(
            rewrite,
            merge,
            None if guard is None else guard.loc,
            f"if not self.{flag} and len(self.{_LIST}) > 1:\n"
            f"    for adapter in self.{_LIST}:\n"
            f"        self.{setter.name}(*adapter, {accumulating})\n"
            "    return\n",
        ),
    )
    return rewrites.fix("unsafe", "Merge all of them again") if all(added) else None


def _takes_plain_arguments(found: Accumulation) -> bool:
    """Can the setter be given its own arguments again, by position, and does the merge return nothing?"""
    setter, merge = found.setter.function, found.merge
    given = setter.node.args
    plain = not (given.vararg or given.kwarg or given.kwonlyargs or given.posonlyargs)
    methods = setter.parameters[:1] == merge.parameters[:1] == ["self"]
    silent = not any(
        isinstance(node, ast.Yield | ast.YieldFrom)
        or (isinstance(node, ast.Return) and getattr(node.value, "value", None) is not None)
        for node in ast.walk(merge.node)
    )
    return methods and plain and setter.parameters[-1] == found.flag and silent


def _is_overridden(method: FunctionInfo) -> bool:
    """Does another class of the file have a method of that name?"""
    return any(cls is not method.owner and method.name in cls.methods for cls in method.file.classes.values())


def _start_empty(rewrite: Rewrite, flag: Loc) -> bool:
    """Add the empty list behind the flag that says what is merged."""
    line = rewrite.enclosing(flag, cst.SimpleStatementLine)
    if line is None:
        return False
    hint = ": list[tuple]" if inside(line[0], cst.AnnAssign) else ""
    added = new_statement(f"self.{_LIST}{hint} = []", rewrite.module.config_for_parsing)
    rewrite.change(line[1], cst.SimpleStatementLine, lambda node: cst.FlattenSentinel([node, added]))
    return True


def _insert(rewrite: Rewrite, function: FunctionInfo, behind: Loc | None, *statements: str) -> bool:
    """Add statements at the start of a function, or behind its statement around ``behind``."""
    found = function_at(rewrite, _head(function))
    if found is None or not isinstance(found[0].body, cst.IndentedBlock):
        return False
    body = found[0].body.body
    index = 1 if found[0].get_docstring() is not None else 0
    if behind is not None:
        rows = [rewrite.positions[statement] for statement in body]
        index = next(i for i, place in enumerate(rows, 1) if place.row <= behind.row <= place.end_row)
    config = rewrite.module.config_for_parsing
    rewrite.change(found[1], cst.FunctionDef, lambda node: insert_statements(node, index, statements, config))
    return True


def _head(function: FunctionInfo) -> Loc:
    """A place in the function that is in no function inside of it."""
    loc = loc_of(function.file, function.node)
    return Loc(loc.row, loc.column, loc.row, loc.column + len("def"))
