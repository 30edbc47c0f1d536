"""What a function or constructor can be given, and what it does with it."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lorascale_lint.verify.harness import words
from lorascale_lint.verify.harness.description import Role, Sketch
from lorascale_lint.verify.harness.models import CannotBuildError
from lorascale_lint.verify.harness.uses import UNUSED, Used, uses_in


@dataclass(frozen=True, slots=True)
class Signature:
    """The parameters of a function or constructor, and what can be known of them.

    `names` are those that its code can see, `told` the roles that the analysis has seen, `uses` what the code
    does with parameters.
    """

    parameters: dict[str, inspect.Parameter]
    names: dict[str, Any]
    told: dict[str, Role]
    uses: dict[str, Used]

    @classmethod
    def of(cls, sketch: Sketch, function: Callable[..., Any]) -> Signature:
        """Raises CannotBuildError."""
        body = function.__init__ if isinstance(function, type) else function  # type: ignore[misc]
        names = getattr(inspect.unwrap(body), "__globals__", {})
        return cls(parameters_of(function), names, dict(sketch.roles), uses_of(function))

    def used(self, name: str) -> Used:
        """What the code does with a parameter."""
        return self.uses.get(name, UNUSED)


def parameters_of(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(function).parameters)
    except (TypeError, ValueError) as error:
        raise CannotBuildError(f"its parameters are not known: {error}") from error


def inherited_by(cls: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """What constructors of its bases insist on, and their rank and alpha, if it hands keywords on."""
    found: dict[str, inspect.Parameter] = {}
    own = parameters_of(cls)
    if not isinstance(cls, type) or all(item.kind is not item.VAR_KEYWORD for item in own.values()):
        return {}
    for base in cls.__mro__[1:]:
        if "__init__" not in vars(base) or base.__module__.startswith(("torch.", "builtins")):
            continue
        theirs = parameters_of(base)
        found |= {name: item for name, item in theirs.items() if name not in own and _is_wanted(name, item)}
        if all(item.kind is not item.VAR_KEYWORD for item in theirs.values()):
            break
    return found


def _is_wanted(name: str, parameter: inspect.Parameter) -> bool:
    needed = parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    return name != "self" and (needed or words.role_of(name) in (Role.ALPHA, Role.RANK))


def uses_of(function: Callable[..., Any]) -> dict[str, Used]:
    """What a function, or a class with all its methods, does with its parameters."""
    body = function if isinstance(function, type) else inspect.unwrap(function)
    try:
        return uses_in(ast.parse(textwrap.dedent(inspect.getsource(body))))
    except (OSError, TypeError, SyntaxError, ValueError):
        return {}
