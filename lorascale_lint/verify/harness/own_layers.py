"""Layers of the project's own around which its LoRA layers are put: where torch's will not do."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from itertools import islice
from typing import Any

from lorascale_lint.verify.harness import quantised, words
from lorascale_lint.verify.harness.configurations import class_of
from lorascale_lint.verify.harness.description import Form, Role, Value
from lorascale_lint.verify.harness.models import CannotBuildError
from lorascale_lint.verify.harness.signatures import Signature, parameters_of

_MOST = 3
_SIZES = {Role.IN_FEATURES, Role.OUT_FEATURES}


def own_layers(name: str, signature: Signature) -> Iterator[Value]:
    """What a parameter for a layer may be: of the class that it is annotated with, else of those in sight."""
    told = class_of(signature.parameters[name], signature.names)
    # Code for quantised layers asks its base what only these have.
    packed = getattr(signature.names.get("bnb") or signature.names.get(quantised.NAME), "nn", None)
    quantised_layers = [getattr(packed, kind, None) for kind in quantised.LAYERS]
    seen = [told, *quantised_layers, *signature.names.values()]
    classes: dict[Any, None] = dict.fromkeys(filter(_is_own, seen))
    yield from islice((value for cls in classes for value in _made_of(cls)), _MOST)


def _is_own(cls: Any) -> bool:
    return (
        isinstance(cls, type)
        and callable(getattr(cls, "named_parameters", None))
        and not cls.__module__.startswith("torch.")
        and "<" not in cls.__qualname__
    )


def _made_of(cls: type) -> Iterator[Value]:
    """Of sizes, and of no adapter."""
    try:
        parameters = parameters_of(cls)
    except CannotBuildError:
        return
    roles = {name: words.role_of(name) for name in parameters}
    needed = {
        name
        for name, item in parameters.items()
        if item.default is inspect.Parameter.empty and item.kind is item.POSITIONAL_OR_KEYWORD
    }
    sizes = {name: role for name, role in roles.items() if role in _SIZES and name in needed}
    if set(sizes.values()) == _SIZES and needed == set(sizes) and Role.RANK not in roles.values():
        parts = tuple((name, Value(role)) for name, role in sizes.items() if role is not None)
        yield Value(Role.BASE, Form.MODULE, literal=f"{cls.__module__}:{cls.__qualname__}", parts=parts)
