"""Terms as containers: what holds an item, what it holds after a write, and who made it."""

from __future__ import annotations

from lorascale_lint.facts.terms import Attr, Call, Const, Element, Event, Global, Item, Op, Opaque, Term
from lorascale_lint.model.file_readers import reads_tensors

_MAKES_CONTAINERS = frozenset("dict defaultdict OrderedDict list tuple sorted Counter".split())
_CONTAINER_METHODS = frozenset(
    "items values get pop setdefault copy keys popitem chunk split unbind tensor_split".split()
)


def may_fold(term: Term) -> bool:
    """Could a term whose value is not understood carry a folded scale?"""
    return isinstance(term, Call | Op)


def new_value(event: Event) -> Term:
    """What an item holds after a write; opaque after ``d[k] *= s``."""
    return Opaque(event.loc) if event.sign in ("*", "/") else event.value


def container_of(term: Term) -> Term:
    """``d`` of ``d[...][...]``."""
    while isinstance(term, Item):
        term = term.base
    return term


def zipped_source(term: Item) -> Term | None:
    """``sources[i]`` of ``for ... in zip(*sources)``, for the variable at place ``i``."""
    match term:
        case Item(
            base=Element(source=Call(func=Global(name="zip"), args=sources)), key=Const(value=int(place))
        ) if place < len(sources):
            return sources[place]
        case _:
            return None


def comes_from_call(term: Term) -> bool:
    """Is ``term`` a part of what some function made, other than one that reads files or splits tensors?"""
    while isinstance(term, Item | Element | Attr | Call):
        if isinstance(term, Call):
            name = term.func.name if isinstance(term.func, Attr | Global) else ""
            if name == "load" or reads_tensors(term) or name in _MAKES_CONTAINERS:
                return False
            if not isinstance(term.func, Attr) or name not in _CONTAINER_METHODS:
                return True
            term = term.func.base
        else:
            term = term.source if isinstance(term, Element) else term.base
    return False
