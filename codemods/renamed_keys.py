"""Dictionaries of a function that hold a whole file under renamed keys: found out by renaming some keys."""

from __future__ import annotations

import re

from lorascale_lint.codemods.statements import function_at
from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Const,
    Element,
    Event,
    Global,
    Item,
    Mapping,
    Param,
    Term,
    walk,
)
from lorascale_lint.fixing.rewriting import Rewrite
from lorascale_lint.model import Loader, Model
from lorascale_lint.model.project import Function, bound_arguments

REMOVES = re.compile(r"\bdel\b|\.pop\(|\.clear\(")
"""Code that takes entries out of a dictionary."""
_ALPHAS = (".alpha", ".lora_alpha", ".alpha_scale")
_LAYER = "layer.0.name"


def holds_every_key(rewrite: Rewrite, loader: Loader, container: Term, suffix: str) -> bool:
    """Does a loop of the loader put each tensor of the file into ``container``, alphas beside factors?

    ``suffix`` is the one by which factor A is looked up there. The renaming is run on the keys of a layer:
    the alpha must come out under the same name of the layer, with its own suffix.
    """
    method = function_at(rewrite, loader.function.facts.loc)
    if method is None or REMOVES.search(rewrite.code(method[0])):
        return False
    if not isinstance(container, Mapping) or container.pairs:
        return False
    stored = [
        event
        for event in loader.function.events("write")
        if isinstance(event.target, Item) and event.target.base is container
    ]
    return len(stored) == 1 and _is_whole(loader, stored[0], suffix)


def _is_whole(loader: Loader, stored: Event, suffix: str) -> bool:
    assert isinstance(stored.target, Item)
    key = stored.target.key
    files = {event.loc for event in loader.traffic.files_read}
    elements = [part for part in walk(key) if isinstance(part, Element)]
    if len(elements) != 1 or getattr(_gone_through(elements[0].source), "loc", None) not in files:
        return False
    tested = (part for guard in stored.guards for part in walk(guard.test) if isinstance(part, Element))
    if any(part.loc == elements[0].loc for part in tested):
        return False  # not every key comes so far
    for ending in ("", ".weight", ".default.weight"):
        name = _renamed(key, _LAYER + suffix + ending)
        if name is not None and name.endswith(suffix):
            stem = name.removesuffix(suffix)
            return all(_renamed(key, _LAYER + alpha) == stem + alpha for alpha in _ALPHAS)
    return False


def _gone_through(source: Term) -> Term:
    """What a loop over ``source`` goes through: a dictionary, or the items of one."""
    match source:
        case Call(func=Attr(base=container, name="items" | "keys"), args=()):
            return container
        case _:
            return source


def _renamed(key: Term, text: str) -> str | None:
    """What a chain of replacements makes of ``text``; None if it is anything else."""
    match key:
        case Item(base=Element(), key=Const(value=0)) | Element():
            return text
        case Call(func=Attr(base=inner, name="replace" | "removeprefix" | "removesuffix" as name), args=args):
            before = _renamed(inner, text)
            texts = [part.value for part in args if isinstance(part, Const) and isinstance(part.value, str)]
            wanted = 2 if name == "replace" else 1
            if before is None or key.keywords or not len(texts) == len(args) == wanted:
                return None
            return str(getattr(before, name)(*texts))
        case _:
            return None


def holds_whole_file(model: Model, function: Function, name: str) -> bool:
    """Is the dictionary what a caller gives or a library reads, and not what the project made of that?"""
    bound = [event.value for event in function.events("bind") if event.name == name]
    if function.parameter(name) is not None:
        for site in model.project.call_sites(function):
            given = bound_arguments(site.call, function).get(name)
            if given is not None:
                bound.append(given)
    elif not bound:
        return False
    return all(
        isinstance(value, Param | Global)
        or (isinstance(value, Call) and not model.project.callees(value.func, function, function.owner))
        for value in bound
    )
