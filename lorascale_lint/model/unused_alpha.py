"""Whether code that handles an adapter does anything with its alpha, beyond skipping or printing it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Const,
    Element,
    Event,
    Global,
    Loc,
    Op,
    Param,
    Term,
    children,
    each_term,
    walk,
)
from lorascale_lint.model.adapter_flow import alpha_guard, lookup, unconverted
from lorascale_lint.model.file_readers import callee_name
from lorascale_lint.model.key_pattern import key_pattern
from lorascale_lint.model.project import Function, Project, bound_arguments
from lorascale_lint.model.scale import ALPHA
from lorascale_lint.model.vocabulary import is_alpha_key, number_role

_PRINTS = frozenset(
    "print info debug warning warn error log write format add_argument pop discard option Option join "
    "set_description set_postfix echo help".split()
)
"""Calls that tell a person or the command line about a value, or throw it away."""
_CONVERTS = frozenset("float int str item get pop tensor as_tensor getattr".split())
_SUMS = frozenset("add add_ sub sub_ addmm addmm_ baddbmm baddbmm_".split())
"""Functions of torch whose ``alpha=`` is a multiplier of its own."""
_QUOTES = "\"'"
_OTHER_SCALE = re.compile(r"(?i)scaling|rs_?lora|alpha_scale|lora_scale_factor|get_scale")


@dataclass(frozen=True, slots=True, eq=False)
class AlphaAtHand:
    """An alpha that a function has, as ``text``, and does nothing with."""

    function: Function
    loc: Loc
    text: str


class UnusedAlpha:
    """Answers for a group of functions that work on one adapter; ``strengths`` are plain multipliers."""

    def __init__(
        self, project: Project, functions: Iterable[Function], strengths: Iterable[str] = ()
    ) -> None:
        self.project = project
        self.functions = tuple(functions)
        self.strengths = frozenset(strengths)
        self._bound = frozenset(
            id(event.value)
            for function in self.functions
            for event in function.events("bind")
            if "alpha" in event.name.lower() and event.name not in self.strengths
        )
        """Values of local names that speak of alpha; constants and parameters are told by their own names."""

    @property
    def is_used(self) -> bool:
        """May any of the functions do something with an alpha, or with a scale under another name?"""
        return any(map(self._uses, self.functions))

    def at_hand(self) -> Iterator[AlphaAtHand]:
        """Alphas that the functions have: read from a configuration, or given as a parameter."""
        for function in self.functions:
            for parameter in function.facts.parameters:
                if number_role(parameter.name, True) == ALPHA and parameter.name not in self.strengths:
                    yield AlphaAtHand(function, parameter.loc, parameter.name)
            for event in function.events("bind", "write"):
                value = _plain(event.value)
                kept = event.kind == "write" or number_role(event.name, True) == ALPHA
                if kept and self._carries(value) and not isinstance(value, Param):
                    yield AlphaAtHand(function, value.loc, _name_of(value))

    def skipped(self) -> Iterator[AlphaAtHand]:
        """Alpha keys that the functions know, and only test for or throw away."""
        for function in self.functions:
            for _, term in each_term(function.facts.events):
                key = _tested_key(term)
                if key is not None:
                    yield AlphaAtHand(function, term.loc, key)

    # ---- uses -------------------------------------------------------------------------

    def _uses(self, function: Function) -> bool:
        if any(_OTHER_SCALE.search(word) and " " not in word for word in function.facts.words):
            return True
        if any(self._uses_in(event, function) for event in function.facts.events):
            return True
        known = {*self.strengths, *(parameter.name for parameter in function.facts.parameters)}
        known.update(event.name for event in function.facts.events)
        for _, term in each_term(function.facts.events):
            known.update(_words(term))
        for guard in dict.fromkeys(guard for event in function.facts.events for guard in event.guards):
            if self._compares(guard.test):
                return True  # files with another alpha are refused, or go another way
            for term in walk(guard.test):
                known.update(_words(term))
        words = (word.strip(_QUOTES) for word in function.facts.words)
        return any("alpha" in word.lower() and " " not in word and word not in known for word in words)

    def _uses_in(self, event: Event, function: Function) -> bool:
        if event.kind == "bind":
            return alpha_guard(event.guards) is not None
        if event.kind in ("write", "return", "yield") and alpha_guard(event.guards) is not None:
            return not (isinstance(event.value, Const) and event.kind == "return")
        if event.kind == "call":
            return self._uses_call(event.value, event, function)
        if event.kind == "write":
            return self._uses_write(event)
        return self._holds(event.value) if event.kind in ("return", "yield") else self._compares(event.value)

    def _uses_call(self, call: Term, event: Event, function: Function) -> bool:
        if not isinstance(call, Call) or self._carries(_plain(call)):
            return False
        name = callee_name(call)
        if name in _PRINTS:
            return False
        bodies = [b for b in self.project.callees(call.func, function, None) if isinstance(b, Function)]
        if bodies:
            for body in bodies:
                for parameter, argument in bound_arguments(call, body).items():
                    checked = body in self.functions and number_role(parameter, True) == ALPHA
                    if self._holds(argument) and not (checked and self._carries(_plain(argument))):
                        return True
            return False
        if any("alpha" in key and name not in _SUMS for key, _ in call.keywords):
            return True
        if any("alpha" in part.lower() for part in (name,)):
            return True
        operands = [*call.args, *(value for _, value in call.keywords)]
        if name in _CONVERTS and len(operands) == 1:
            return False  # what is made of it stands in an event of its own
        if isinstance(call.func, Attr) and self._holds(call.func.base):
            return True
        return any(map(self._holds, operands)) or (
            alpha_guard(event.guards) is not None and name not in ("keys", "items")
        )

    def _uses_write(self, event: Event) -> bool:
        target = event.target
        if target is not None and not isinstance(target, Attr) and self._holds(target):
            return True
        if isinstance(target, Attr) and self._carries(_plain(event.value)) and not event.sign:
            return self._is_read(target.name)
        return self._holds(event.value)

    def _is_read(self, name: str) -> bool:
        """Is an attribute ``name`` read anywhere in the project, other than to print it?"""
        for function in self.project.functions.values():
            if name not in function.facts.words:
                continue
            for event in function.facts.events:
                if event.kind == "bind" or (event.kind == "call" and _printed(event.value)):
                    continue
                roots = [event.value]
                if event.kind == "write" and event.target is not None and not isinstance(event.target, Attr):
                    roots.append(event.target)
                if any(isinstance(t, Attr) and t.name == name for t in walk(*roots)):
                    return True
        return False

    def _compares(self, test: Term) -> bool:
        """Does a condition depend on the value of an alpha (and not on whether there is one)?"""
        return any(
            isinstance(term, Op)
            and term.sign not in ("in", "not in", "is", "is not")
            and (self._holds(term.left) or self._holds(term.right))
            for term in walk(test)
        )

    def _holds(self, term: Term) -> bool:
        """Is an alpha a part of ``term``? What other calls make of one stands in events of their own."""
        pending, seen = [term], set[int]()
        while pending:
            current = pending.pop()
            if id(current) in seen:
                continue
            seen.add(id(current))
            if self._carries(current):
                return True
            if not isinstance(current, Call) or callee_name(current) in _CONVERTS:
                pending.extend(children(current))
        return False

    def _carries(self, term: Term) -> bool:
        """Is ``term`` an alpha, by a name, or by the key that it was looked up with?"""
        if id(term) in self._bound and not isinstance(term, Const | Param):
            return True
        match term:
            case Param(name=name):
                return "alpha" in name.lower() and name not in self.strengths
            case Attr(name=name) | Global(name=name):
                return "alpha" in name.lower() and name not in self.strengths
            case Call(func=Global(name="getattr"), args=(_, Const(value=str() as name), *_)):
                return "alpha" in name.lower()
            case _:
                found = lookup(term)
                return found is not None and "alpha" in key_pattern(found[1]).lower()


def _plain(term: Term) -> Term:
    """``term`` without ``float(...)``, ``int(...)`` and tensor conversions around it."""
    while True:
        term = unconverted(term)
        match term:
            case Call(func=Global(name="float" | "int" | "str"), args=(inner,)):
                term = inner
            case _:
                return term


def _name_of(term: Term) -> str:
    found = lookup(term)
    return key_pattern(found[1]) if found is not None else str(getattr(term, "name", "alpha"))


def _printed(term: Term) -> bool:
    return isinstance(term, Call) and callee_name(term) in _PRINTS


def _words(term: Term) -> Iterator[str]:
    """Identifiers and literals in ``term`` itself."""
    match term:
        case Attr(name=name) | Global(name=name) | Param(name=name):
            yield name
        case Const(value=str() as text):
            yield text
        case Call(keywords=keywords):
            yield from (key for key, _ in keywords)
        case _:
            pass


def _tested_key(term: Term) -> str | None:
    """The alpha key in a test of a key, or in a lookup that takes it out of a dictionary."""
    match term:
        case Op(sign="in" | "not in" | "==" | "!=", left=left, right=right):
            texts = [key_pattern(left), key_pattern(right)]
            texts += [key_pattern(item) for item in getattr(right, "items", ())]
            if isinstance(left, Element):  # `any(word in key for word in ["alpha", ...])`
                texts += [key_pattern(item) for item in getattr(left.source, "items", ())]
        case Call(func=Attr(name="endswith" | "pop" | "removesuffix"), args=(first, *_)):
            texts = [key_pattern(item) for item in getattr(first, "items", (first,))]
        case _:
            return None
    return next((text for text in texts if text.strip("*") and is_alpha_key(text)), None)
