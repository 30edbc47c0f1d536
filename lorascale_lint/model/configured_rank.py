"""Classes that take the rank of their factors from a configuration and leave its alpha there."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lorascale_lint.facts.terms import Attr, Loc, Op, each_term, walk
from lorascale_lint.model.project import Class, Function, Project, is_test_file
from lorascale_lint.model.scale import ALPHA, RANK
from lorascale_lint.model.vocabulary import number_role

_SCALES = re.compile(r"(?i)alpha|scal(e|ing)")


def alpha_left_in_configuration(project: Project, cls: Class) -> tuple[Function, Loc] | None:
    """Where others compute with the alpha of the configuration whose rank is all that ``cls`` reads."""
    methods = [method for member in project.ancestors(cls) for method in project.methods(member)]
    words = {word for method in methods for word in method.facts.words if " " not in word.strip()}
    if any(_SCALES.search(word) for word in words):
        return None
    for name, config in _configurations(project, cls):
        roles = {number_role(attribute.name, True): attribute.name for attribute in config.facts.attributes}
        alpha = roles.get(ALPHA)
        if alpha is not None and RANK in roles and any(_reads_rank(method, name) for method in methods):
            return next(_computations(project, config, alpha), None)
    return None


def _configurations(project: Project, cls: Class) -> Iterator[tuple[str, Class]]:
    """Fields and constructor parameters of ``cls`` that are declared as a class of the project."""
    declared = [(attribute.name, attribute.annotation) for attribute in cls.facts.attributes]
    maker = project.method(cls, "__init__")
    if maker is not None:
        declared += [(parameter.name, parameter.annotation) for parameter in maker.facts.parameters]
    for name, annotation in declared:
        for part in re.findall(r"[\w.]+", annotation):
            found = project.definition(cls.module, cls.filename, part)
            if isinstance(found, Class):
                yield name, found


def _reads_rank(method: Function, name: str) -> bool:
    """Does ``method`` read ``self.config.rank`` or ``config.rank``?"""
    return any(
        isinstance(term, Attr)
        and number_role(term.name, True) == RANK
        and getattr(term.base, "name", "") == name
        for _, term in each_term(method.facts.events)
    )


def _computations(project: Project, config: Class, alpha: str) -> Iterator[tuple[Function, Loc]]:
    """Arithmetic with ``alpha`` in the configuration's own methods, or beside its uses."""
    for function in project.functions.values():
        if is_test_file(function.filename) or (
            function.owner is not config and config.name not in function.facts.words
        ):
            continue
        for _, term in each_term(function.facts.events):
            if isinstance(term, Op) and any(
                isinstance(part, Attr) and part.name == alpha for part in walk(term)
            ):
                yield function, term.loc
