"""Objects that say how an adapter is made: of the class that the code names, with the fields that it has."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from lorascale_lint.knowledge.kinds import speaks_of_rslora
from lorascale_lint.verify.harness import words
from lorascale_lint.verify.harness.description import Role, Value
from lorascale_lint.verify.harness.signatures import parameters_of
from lorascale_lint.verify.harness.unknown import annotation_of, fields_of
from lorascale_lint.verify.harness.uses import Used

DROPPED = Value(Role.LITERAL, literal=0.5)
"""A dropout for code that asks whether it has one; nothing is dropped unless something is trained."""


def class_of(parameter: inspect.Parameter, known: Mapping[str, Any]) -> Any:
    """What a parameter is annotated with, where its text names something that is `known`."""
    told = parameter.annotation
    return known.get(told.strip("'\" ")) if isinstance(told, str) else told


def table_class(parameter: inspect.Parameter, known: Mapping[str, Any]) -> str:
    """The class of the project's own whose objects hold tensors by their names, if it is one; "" else."""
    cls = class_of(parameter, known)
    if not _is_own(cls) or cls.__module__.startswith(("torch.", "typing", "collections")):
        return ""
    asked = all(callable(getattr(cls, name, None)) for name in ("__getitem__", "__setitem__", "items"))
    return f"{cls.__module__}:{cls.__qualname__}" if asked else ""


def configuration(parameter: inspect.Parameter, known: dict[str, Any], used: Used) -> Value:
    """An object of the class that the code names, else one with the fields that are usual or asked for.

    Fields of the code's own class keep their defaults where they are not alpha, rank or a dropout.
    """
    cls = class_of(parameter, known)
    # A flag that changes the scale is nothing to invent.
    read = used.attributes | used.keys
    fields = {name: role for name, role in words.FIELDS.items() if not speaks_of_rslora(name) or name in read}
    reference = None
    asked = tuple((name, value) for name, value in fields_of(used) if name not in fields)
    if _is_own(cls) and (taken := parameters_of(cls)) and not _takes_anything(taken):
        fields = {name: field for name, item in taken.items() if (field := _field(name, item)) is not None}
        reference = f"{cls.__module__}:{cls.__qualname__}"
        asked = tuple((name, value) for name, value in asked if name in taken)
    parts = tuple(
        (name, Value(field) if isinstance(field, Role) else Value(Role.LITERAL, literal=field))
        for name, field in fields.items()
    )
    return Value(Role.OBJECT, literal=reference, parts=(*parts, *asked))


def with_dropout(settings: Value) -> Iterator[Value]:
    """The same settings with a dropout, for code that insists on one."""
    parts = tuple(
        (name, DROPPED if words.is_dropout(name) and part.literal == 0.0 else part)
        for name, part in settings.parts
    )
    if settings.role is Role.OBJECT and parts != settings.parts:
        yield replace(settings, parts=parts)


def _is_own(cls: Any) -> bool:
    """Whether it is a class with fields of its own that can be had by its name."""
    return (
        isinstance(cls, type)
        and cls is not inspect.Parameter.empty
        and cls.__module__ != "builtins"
        and "<" not in cls.__qualname__
    )


def _takes_anything(taken: Mapping[str, inspect.Parameter]) -> bool:
    """Whether all its fields are what it is given by name, as those of a namespace are."""
    return all(item.kind in (item.VAR_POSITIONAL, item.VAR_KEYWORD) for item in taken.values())


def _field(name: str, parameter: inspect.Parameter) -> Role | float | bool | str | None:
    """What a field of a configuration's own class is given; None: its default, or nothing."""
    if speaks_of_rslora(name):
        return False
    if name in words.DECOMPOSED:
        return 1
    field = words.field_of(name)
    if isinstance(field, (Role, float)):
        # Patterns and their like are no number.
        numeric = parameter.default is None or type(parameter.default) in (int, float, type)
        return field if numeric and "dict" not in annotation_of(parameter).lower() else None
    return _BY_ANNOTATION.get(annotation_of(parameter)) if parameter.default is parameter.empty else None


_BY_ANNOTATION: Mapping[str, float | bool | str] = {"str": "layer", "bool": False, "int": 1, "float": 1.0}
