"""Layers made with the rank of a configuration and the default alpha, where others get its alpha too."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.facts.terms import Attr, Call, Const, Global, Param, Term, each_term, source_text
from lorascale_lint.model.dropped_alpha import DroppedAlpha, completed, free_alpha
from lorascale_lint.model.project import Function, Project, bound_arguments, constructor, is_test_file
from lorascale_lint.model.scale import ALPHA, RANK, SCALING
from lorascale_lint.model.vocabulary import number_role


def half_configured(project: Project, function: Function) -> Iterator[DroppedAlpha]:
    """Calls that give an adapter layer ``config.r`` and leave ``config.lora_alpha`` behind.

    That the configuration has an alpha for such layers is shown by another call of the project that gives
    it to a layer of the same family.
    """
    if any(number_role(word, True) in (ALPHA, SCALING) for word in function.facts.words):
        return
    for event in function.events("call"):
        if not isinstance(event.value, Call) or event.value.spread:
            continue
        call = completed(event.value)
        for callee in project.callees(call.func, function, None):
            target = constructor(project, callee)
            if target is None or target is function:
                continue
            given = bound_arguments(call, target)
            parameter = free_alpha(target, given)
            ranks = [term for name, term in given.items() if number_role(name, True) == RANK]
            config = next((_config(term, RANK) for term in ranks if _config(term, RANK) is not None), None)
            if parameter is None or config is None:
                continue
            sibling = _told_alpha(project, target, config)
            if sibling is None:
                continue
            other, told, read = sibling
            default = parameter.default
            assert isinstance(default, Const)
            made = target.owner.name if target.owner is not None else target.facts.name
            yield DroppedAlpha(
                function,
                event.value.loc,
                event,
                f"`{made}` gets the rank of `{source_text(config)}` and not its alpha",
                (
                    (function.filename, ranks[0].loc, "the rank comes from the configuration"),
                    (target.filename, parameter.loc, f"`{parameter.name}` keeps its default {default.value}"),
                    (
                        other.filename,
                        told.loc,
                        f"`{other.facts.qualname}` gives such a layer `{source_text(read)}`",
                    ),
                ),
                ((parameter.name, f"{source_text(config)}.{read.name}"),),
            )
            break


def _config(term: Term, role: str) -> Term | None:
    """``config`` of ``config.lora_alpha``."""
    match term:
        case Attr(base=Param() | Global() | Attr(base=Param()) as base, name=name) if (
            number_role(name, True) == role
        ):
            return base
        case _:
            return None


def _told_alpha(project: Project, target: Function, config: Term) -> tuple[Function, Call, Attr] | None:
    """A call that gives a layer related to ``target`` the alpha of a configuration of that name."""
    text = source_text(config)
    for other in project.functions.values():
        if other.filename != target.filename or is_test_file(other.filename):
            continue
        for _, term in each_term(other.events("call")):
            if not isinstance(term, Call):
                continue
            for callee in project.callees(term.func, other, None):
                made = constructor(project, callee)
                if made is None or not _related(project, made, target):
                    continue
                for name, value in bound_arguments(term, made).items():
                    base = _config(value, ALPHA) if number_role(name, True) == ALPHA else None
                    if base is not None and source_text(base) == text and isinstance(value, Attr):
                        return other, term, value
    return None


def _related(project: Project, first: Function, second: Function) -> bool:
    """Are both constructors of one class, or of classes that have a base in common?"""
    if first.owner is None or second.owner is None:
        return first is second
    return bool(set(project.ancestors(first.owner)) & set(project.ancestors(second.owner)))
