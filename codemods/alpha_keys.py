"""The key that alpha has beside a factor which is looked up."""

from __future__ import annotations

import re

import libcst as cst

from lorascale_lint.fixing.rewriting import Rewrite
from lorascale_lint.fixing.tree import inside
from lorascale_lint.sources.loc import Loc

_REPLACED = re.compile(r"""^(.*)\.replace\(["']\.?lora_up["'], ?["']\.?lora_down["']\)$""")


def assigned_subscript(
    rewrite: Rewrite, loc: Loc
) -> tuple[cst.SimpleStatementLine, str, cst.Subscript] | None:
    """The statement ``local = container[key].to(...)`` at a place."""
    around = rewrite.enclosing(loc, cst.SimpleStatementLine)
    if around is None:
        return None
    line = cst.ensure_type(around[0], cst.SimpleStatementLine)
    match line.body:
        case [cst.Assign(targets=[cst.AssignTarget(target=cst.Name(value=local))], value=value)]:
            pass
        case _:
            return None
    while not isinstance(value, cst.Subscript):
        match value:
            case cst.Call(func=cst.Attribute(value=inner)):
                value = inner
            case _:
                return None
    return line, local, value


def split_key(rewrite: Rewrite, subscript: cst.Subscript, separator: str) -> str | None:
    """Source of the key that alpha has beside the factor A at ``subscript``: up to ``separator`` the same."""
    match subscript.slice:
        case [cst.SubscriptElement(slice=cst.Index(value=key))]:
            text = rewrite.code(key)
        case _:
            return None
    swapped = _REPLACED.match(text)
    if swapped is not None and swapped[1].isidentifier():
        return f'{swapped[1]}.split(".lora_up")[0] + ".alpha"'
    if isinstance(key, cst.Name | cst.Subscript):
        return f'{text}.split("{separator}")[0] + ".alpha"'
    if text.count("lora_down.weight") == 1 and not inside(key, cst.Call):
        return text.replace("lora_down.weight", "alpha")
    return None
