"""Strengths that are multiplied onto every entry of an adapter file: both factors, and alpha with them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Choice,
    Const,
    Element,
    Event,
    Global,
    Guard,
    Item,
    Mapping,
    Op,
    Param,
    Term,
    each_term,
    source_text,
    walk,
)
from lorascale_lint.model.factor_ratios import SquaredRatio
from lorascale_lint.model.model import Model
from lorascale_lint.model.project import Function, is_test_file

_STRENGTH = re.compile(
    r"(?i)_?(lora_|adapter_|user_|merge_)?(strength|multiplier)s?(_?(\d|[abi]|model|clip))?"
)
_SCALE = re.compile(r"(?i)_?(lora|adapter)_scales?(_?(\d|[abi]))?")
_FILE = re.compile(r"(?i)lora|adapter")
_NO_FACTORS = re.compile(r"(?i)delta|diff|merged|full|base|grad|scale|alphas?\b|config|name|path|dir|block")
_CONVERSIONS = frozenset("to float half bfloat16 clone detach cpu cuda type".split())
_LOOKUPS = frozenset("get zeros_like set keys".split())
_VIEWS = frozenset("items keys copy".split())


def scaled_files(model: Model) -> Iterator[SquaredRatio]:
    """One place of each function that does so."""
    for function in model.functions:
        if is_test_file(function.filename):
            continue
        for event, key, value, guards in _stores(function):
            found = _strength_on_entry(key, value) if not _tells_keys_apart(guards, value, key) else None
            if found is not None:
                loc, name = found
                yield SquaredRatio(function, event, loc.loc, name, loc.loc, loc.loc, None)
                break


def _stores(function: Function) -> Iterator[tuple[Event, Term, Term, tuple[Guard, ...]]]:
    """Key and value of what is written into dictionaries, one by one or by comprehensions."""
    for event in function.events("write"):
        if isinstance(event.target, Item):
            value = event.value
            if event.sign == "*":
                value = Op("*", event.target, event.value, event.loc)
            if event.sign in ("", "*", "+"):
                yield event, event.target.key, value, event.guards
    for event, term in each_term(function.facts.events):
        if (
            isinstance(term, Mapping)
            and len(term.pairs) == 1
            and any(isinstance(part, Element) for part in walk(term.pairs[0][0]))
        ):
            key, value = term.pairs[0]
            yield event, key, value, (*event.guards, *term.guards)


def _strength_on_entry(key: Term, value: Term) -> tuple[Op, str] | None:
    """A product of an adapter file's entry of that ``key`` with a strength, the whole value or a summand."""
    for summand in _summands(value):
        parts = list(_parts(summand))
        entry = next((part for part in parts if _is_entry(part, key)), None)
        names = [name for part in parts if part is not entry and (name := _strength(part)) is not None]
        if entry is not None and len(names) == len(parts) - 1 and names and isinstance(summand, Op):
            return summand, names[0]
    return None


def _summands(value: Term) -> Iterator[Term]:
    match value:
        case Choice(then=then, other=other):
            yield from _summands(then)
            yield from _summands(other)
        case Op(sign="+", left=left, right=right):
            yield from _summands(left)
            yield from _summands(right)
        case _:
            yield value


def _parts(term: Term) -> Iterator[Term]:
    match term:
        case Op(sign="*", left=left, right=right):
            yield from _parts(left)
            yield from _parts(right)
        case _:
            yield term


def _strength(term: Term) -> str | None:
    """The name of a strength as the user gave it."""
    match term:
        case Param(name=name) | Attr(name=name) if _STRENGTH.fullmatch(name) or _SCALE.fullmatch(name):
            return name
        case Attr(base=owner, name="scale") if _is_adapter(owner):
            return "scale"
        case Call(func=Global(name="float"), args=(inner,)):
            return _strength(inner)
        case _:
            return None


def _is_adapter(term: Term) -> bool:
    """Is ``term`` one of the adapters that a user names, each with a scale?"""
    match term:
        case Param(name=name) | Attr(name=name):
            return _FILE.search(name) is not None
        case Element(source=source) | Item(base=source):
            return _is_adapter(source)
        case _:
            return False


def _is_entry(term: Term, key: Term) -> bool:
    """``lora[key]``, ``lora.get(key, ...)``, or the value that goes with ``key`` in a loop over ``lora``."""
    while True:
        match term:
            case Call(func=Attr(base=base, name=name)) if name in _CONVERSIONS:
                term = base
            case Choice(then=then, other=other):
                return _is_entry(then, key) or _is_entry(other, key)
            case Call(func=Attr(base=base, name="get"), args=(own, *_)) | Item(base=base, key=own) if (
                own is key or source_text(own) == source_text(key) != "..."
            ):
                return _is_file(base)
            case Item(base=Element(source=source) as row, key=Const(value=1)):
                same = isinstance(key, Item) and key.base is row and getattr(key.key, "value", None) == 0
                return same and _is_file(source)
            case _:
                return False


def _is_file(term: Term) -> bool:
    """Is ``term`` the dictionary of an adapter, by its name or by what loads it?"""
    while True:
        match term:
            case Call(func=Attr(base=base, name=name)) if name in _VIEWS:
                term = base
            case Call(func=Global(name="list" | "sorted" | "tqdm" | "dict"), args=(inner, *_)):
                term = inner
            case Param(name=name) | Attr(name=name):
                return _FILE.search(name) is not None and _NO_FACTORS.search(name) is None
            case Call(args=(path, *_)) as call if "load" in getattr(call.func, "name", ""):
                return _FILE.search(getattr(call.func, "name", "")) is not None or any(
                    isinstance(part, Param | Attr | Const) and _FILE.search(_text(part)) is not None
                    for part in walk(path)
                )
            case _:
                return False


def _text(term: Param | Attr | Const) -> str:
    return str(term.value) if isinstance(term, Const) else term.name


def _tells_keys_apart(guards: tuple[Guard, ...], value: Term, key: Term) -> bool:
    """Does a condition with a text or a shape choose between the entries?"""
    tests = [guard.test for guard in guards]
    tests += [part.test for part in walk(value) if isinstance(part, Choice) and part.test is not None]
    for part in walk(*tests):
        if isinstance(part, Const) and isinstance(part.value, str):
            return True
        if isinstance(part, Attr) and part.name in (
            "shape",
            "ndim",
            "dim",
            "endswith",
            "startswith",
            "match",
        ):
            return True
        looks_up = isinstance(part, Call) and getattr(part.func, "name", "") in _LOOKUPS
        if (
            isinstance(part, Call)
            and not looks_up
            and any(inner is key for argument in part.args for inner in walk(argument))
        ):
            return True
    return False
