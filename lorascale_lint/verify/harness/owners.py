"""Methods of objects that are no layers: nodes, loaders, converters that keep their work in a class."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any


def unbound(cls: Any, method: str) -> Callable[..., Any] | None:
    """A method as a function, of an object whose constructor has not run; None if it is none.

    One that asks the object for what the constructor puts there raises, and is not run.
    """
    function = inspect.getattr_static(cls, method, None)
    if isinstance(function, (staticmethod, classmethod)):
        found = getattr(cls, method)
        return found if callable(found) else None
    if not inspect.isfunction(function) or callable(getattr(cls, "named_parameters", None)):
        return None
    try:
        made = cls()
    except Exception:  # Whatever it wants to be given.
        try:
            made = object.__new__(cls)
        except TypeError:
            return None
    found = getattr(made, method, None)
    return found if callable(found) else None
