"""Keys whose dots become underscores, and get them back where they name a factor."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lorascale_lint.facts.terms import Call, Const, Event, Item, Loc, Term, walk
from lorascale_lint.model.adapter_flow import asks_for_alpha, tensor_of_loop, unconverted
from lorascale_lint.model.adapter_keys import key_traffic
from lorascale_lint.model.file_readers import callee_name
from lorascale_lint.model.project import Function
from lorascale_lint.model.vocabulary import key_side

_EITHER = re.compile(r"(?i)lora_?\W*(down|up|a|b)\W+(down|up|a|b)\W")
"""A pattern for both factors: ``_lora_(up|down)_weight``."""


def flattened_keys(function: Function) -> Iterator[tuple[Loc, tuple[Loc, str], Event]]:
    """Where the dots are lost, where a factor's come back, and the write: of every tensor of a file.

    Silent where the function asks for alpha's keys, or names them in what it replaces.
    """
    if any(use.role == "alpha" for use in key_traffic(function).uses):
        return
    if any("alpha" in word for word in function.facts.words if "." in word or "_" in word[:2]):
        return
    for write in function.events("write"):
        target = write.target
        if not isinstance(target, Item) or write.sign or tensor_of_loop(unconverted(write.value)) is None:
            continue
        guards = [(guard.test, guard.holds) for guard in write.guards]
        if any(
            asks_for_alpha(test, holds)
            or asks_for_alpha(test, not holds)
            or any(isinstance(p, Const) and key_side(str(p.value)) for p in walk(test))
            for test, holds in guards
        ):
            continue
        flat = next((part for part in walk(target.key) if _flattens(part)), None)
        if flat is None:
            continue
        within = {id(part) for part in walk(flat)}
        restored = [
            (part.loc, part.value)
            for part in walk(target.key)
            if id(part) not in within and isinstance(part, Const) and isinstance(part.value, str)
        ]
        dotted = [item for item in restored if "." in item[1] and key_side(item[1]) is not None]
        sides = {key_side(text) for _, text in dotted}
        both = next((item for item in restored if _EITHER.search(item[1])), None)
        if {"A", "B"} <= sides:
            yield flat.loc, dotted[0], write
        elif both is not None:
            yield flat.loc, both, write


def _flattens(term: Term) -> bool:
    """Is this ``key.replace(".", "_")``?"""
    if not isinstance(term, Call) or callee_name(term) != "replace" or len(term.args) != 2:
        return False
    old, new = term.args
    return getattr(old, "value", None) == "." and getattr(new, "value", None) == "_"
