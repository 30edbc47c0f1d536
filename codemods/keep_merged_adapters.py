"""Keep every adapter that a layer has merged, so that it can merge them again."""

from __future__ import annotations

import libcst as cst
import libcst.matchers as m

from lorascale_lint.codemods.statements import function_at, insert_statements, new_statement
from lorascale_lint.facts.terms import Loc
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrite, Rewrites
from lorascale_lint.model import Model
from lorascale_lint.model.accumulated_merges import Accumulation, constant_flags
from lorascale_lint.model.project import Function

_LIST = "merged_adapters"


@repair
def keep_merged_adapters(model: Model, found: Accumulation) -> Fix | None:
    """The setter notes what it is given, and a merge into the base weight gives it all of that again.

    Unsafe by definition: merging again gives another weight, that of all adapters.
    """
    setter, merge, owner = found.setter.function, found.merge, found.merge.owner
    merged = constant_flags(merge, True) & constant_flags(found.unmerge, False)
    if owner is None or setter.owner is not owner or len(merged) != 1 or not found.restores:
        return None
    if not _takes_plain_arguments(found):
        return None
    if any(len(model.project.overrides(owner, method.facts.name)) > 1 for method in (setter, merge)):
        return None
    rewrites = Rewrites(model.read_source)
    rewrite = rewrites.of(merge.filename)
    (flag,) = merged
    starts = [w for w in model.project.writes(owner, flag) if w.function.facts.name == "__init__"]
    if _LIST in rewrite.text or len(starts) != 1 or starts[0].function.owner is not owner:
        return None
    names = [parameter.name for parameter in setter.positional if parameter.name != found.flag]
    accumulating = f"{found.flag}={found.accumulates}"
    guard = found.unmerging if found.unmerging in merge.facts.events else None
    added = (
        _start_empty(rewrite, starts[0].event.loc),
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
            f"        self.{setter.facts.name}(*adapter, {accumulating})\n"
            "    return\n",
        ),
    )
    return rewrites.fix("unsafe", "Merge all of them again") if all(added) else None


def _takes_plain_arguments(found: Accumulation) -> bool:
    """Can the setter be given its own arguments again, by position, and does the merge return nothing?"""
    setter, merge = found.setter.function, found.merge
    named = setter.facts.parameters[1:]
    plain = all(parameter.kind == "plain" for parameter in named if parameter.name != found.flag)
    methods = setter.receiver == merge.receiver == "self"
    silent = not any(merge.events("yield")) and all(
        getattr(event.value, "value", "") is None for event in merge.events("return")
    )
    return methods and plain and named[-1].name == found.flag and silent


def _start_empty(rewrite: Rewrite, flag: Loc) -> bool:
    """Add the empty list behind the flag that says what is merged."""
    line = rewrite.enclosing(flag, cst.SimpleStatementLine)
    if line is None:
        return False
    hint = ": list[tuple]" if m.findall(line[0], m.AnnAssign()) else ""
    added = new_statement(f"self.{_LIST}{hint} = []", rewrite.module.config_for_parsing)
    rewrite.change(line[1], cst.SimpleStatementLine, lambda node: cst.FlattenSentinel([node, added]))
    return True


def _insert(rewrite: Rewrite, function: Function, behind: Loc | None, *statements: str) -> bool:
    """Add statements at the start of a function, or behind its statement around ``behind``."""
    found = function_at(rewrite, function.facts.loc)
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
