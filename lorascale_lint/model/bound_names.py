"""Factors that only the name of a local tells: ``lora_up = weights[pair["up_key"]]``.

Tables of key names, patterns and helpers that make keys hide which factor a lookup gives; the local that
it is bound to says so. Only a function that binds both sides so is believed, and only plain lookups.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lorascale_lint.facts.terms import Attr, Call, Const, Item, Loc, Term
from lorascale_lint.model.vocabulary import factor_side

if TYPE_CHECKING:
    from lorascale_lint.model.project import Function

_CONVERSIONS = frozenset(
    "to float half bfloat16 double cuda cpu type contiguous detach clone data T t squeeze".split()
)


def bound_sides(function: Function) -> dict[Loc, str]:
    """Lookups of ``function`` whose key says nothing, by the factor that their local is called after."""
    found: dict[Loc, str] = {}
    for event in function.events("bind"):
        side = factor_side(event.name, False)
        looked_up = _lookup(event.value) if side is not None else None
        if looked_up is not None and side is not None:
            found[looked_up.loc] = side
    return found if {"A", "B"} <= set(found.values()) else {}


def _lookup(term: Term) -> Item | Call | None:
    """``table[key]`` or ``table.get(key)`` below conversions, for a key that is computed."""
    while True:
        match term:
            case Call(func=Attr(base=base, name=name)) if name in _CONVERSIONS:
                term = base
            case Attr(base=base, name=name) if name in _CONVERSIONS:
                term = base
            case Item(base=base, key=key):
                return term if not isinstance(key, Const) and not isinstance(base, Call) else None
            case Call(func=Attr(name="get" | "pop" | "get_tensor"), args=(key, *_)):
                return term if not isinstance(key, Const) else None
            case _:
                return None
