"""Forward methods that replace one which adds the delta, and add none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.facts.extract import dotted_name
from lorascale_lint.facts.terms import Attr, Call, Event, Global, Param, Term, each_term, walk
from lorascale_lint.model.applications import Application
from lorascale_lint.model.model import Implementation, Model
from lorascale_lint.model.project import Class, Function, attribute_chain, is_receiver, is_test_file

_DEPTH = 4
_PLAIN_BASES = frozenset(["Module", "ABC", "object"])
_CONVERSIONS = frozenset("to type_as size view reshape float half".split())


@dataclass(frozen=True, slots=True, eq=False)
class OmittedDelta:
    """``override`` computes the base's output without the delta that ``application`` adds.

    ``base_call`` is where it does. ``missing`` are names that it reads of itself and nothing ever sets.
    """

    implementation: Implementation
    application: Application
    override: Function
    base_call: Call
    missing: tuple[Attr, ...]


def omitted_deltas(model: Model) -> Iterator[OmittedDelta]:
    """Overrides in subclasses of a layer whose own forward adds the delta."""
    for implementation in model.implementations:
        factors = {
            write.event.target.name
            for setter in implementation.setters
            for write in setter.factors.values()
            if isinstance(write.event.target, Attr)
        }
        merges = any(application.kind == "merge" for application in implementation.applications)
        if not factors or not merges:
            continue
        for application in implementation.applications:
            owner, base = application.owner, _base_attribute(application)
            if application.kind != "forward" or owner is None or base is None:
                continue
            for cls in model.project.subclasses(owner):
                override = model.project.method(cls, application.function.facts.name)
                if override is None or override.owner is not cls or is_test_file(override.filename):
                    continue
                call = _base_call(override, base)
                missing = _self_reads(model, cls, override, factors, _DEPTH)
                if call is not None and missing is not None and _knows_ancestors(model, cls):
                    yield OmittedDelta(implementation, application, override, call, missing)


def _base_attribute(application: Application) -> str | None:
    """The attribute that holds the base layer: ``base_layer`` of ``self.base_layer(x)[0] + delta``."""
    if application.base is None:
        return None
    names = list(attribute_chain(application.base))
    return names[-1] if names else None


def _base_call(override: Function, base: str) -> Call | None:
    """The call that computes the base's output in a replaced forward."""
    for event in override.events("bind"):
        call = event.value
        if (
            isinstance(call, Call)
            and not (isinstance(call.func, Attr) and call.func.name in _CONVERSIONS)
            and base in _own_attributes(call, override)
            and any(_is_activation(argument, override) for argument in call.args)
        ):
            return call
    return None


def _is_activation(term: Term, function: Function) -> bool:
    """Does a term come from a parameter other than ``self``?"""
    return any(isinstance(part, Param) and not is_receiver(part, function) for part in walk(term))


def _own_attributes(call: Call, function: Function) -> set[str]:
    """Attributes of ``self`` that a call is made on, or is given."""
    found: set[str] = set()
    for term in (call.func, *call.args):
        while isinstance(term, Attr):
            if is_receiver(term.base, function):
                found.add(term.name)
            term = term.base
    return found


def _self_reads(
    model: Model, cls: Class, function: Function, factors: set[str], depth: int
) -> tuple[Attr, ...] | None:
    """Names of ``self`` that nothing sets; None if a factor may be read, or the object goes elsewhere."""
    if depth == 0 or any(event.kind == "raise" and not event.guards for event in function.facts.events):
        return None
    missing: list[Attr] = []
    for event, term in each_term(function.facts.events):
        if _hands_on_itself(event, term, function):
            return None
        if not isinstance(term, Attr) or not is_receiver(term.base, function):
            continue
        if term.name in factors:
            return None
        method = model.project.method(cls, term.name)
        if method is not None and method is not function:
            deeper = _self_reads(model, cls, method, factors, depth - 1)
            if deeper is None:
                return None
            missing.extend(deeper)
        elif method is None and not _is_set(model, cls, term.name):
            if model.project.methods_named(term.name):
                return None  # some class of the project has it; which one this is may be unclear
            missing.append(term)
    return tuple(missing)


def _hands_on_itself(event: Event, term: Term, function: Function) -> bool:
    """Is ``self`` given away whole, or the replaced method called?"""
    if isinstance(term, Call):
        if isinstance(term.func, Global) and term.func.name in (
            "super",
            "getattr",
            "hasattr",
            "setattr",
            "vars",
        ):
            return True
        values = (*term.args, *(value for _, value in term.keywords))
        return term.spread or any(is_receiver(value, function) for value in values)
    return event.kind == "return" and is_receiver(event.value, function)


def _is_set(model: Model, cls: Class, name: str) -> bool:
    """Does anything give objects of the class this attribute?"""
    if model.project.class_attribute(cls, name) is not None or model.project.writes(cls, name):
        return True
    return any(
        isinstance(event.target, Attr) and event.target.name == name
        for function in model.functions
        for event in function.events("write")
    )


def _knows_ancestors(model: Model, cls: Class) -> bool:
    """Are all bases of the class and its ancestors in the project, or of a kind that adds no delta?"""
    return all(
        dotted_name(base).rpartition(".")[2] in _PLAIN_BASES
        or model.project.definition(ancestor.module, ancestor.filename, dotted_name(base)) is not None
        for ancestor in model.project.ancestors(cls)
        for base in ancestor.facts.bases
    )
