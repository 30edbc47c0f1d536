"""Dataclasses that nobody changes, and that are made by the million."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from dataclasses import dataclass as immutable  # mypy holds that nobody changes one
else:
    Made = TypeVar("Made")

    def immutable(*, frozen: bool, slots: bool, eq: bool = True) -> Callable[[type[Made]], type[Made]]:
        """A dataclass whose fields are set directly: frozen ones take twice as long for it."""

        def make(cls: type[Made]) -> type[Made]:
            hashed = frozen and eq and "__hash__" not in vars(cls)
            made = dataclass(slots=slots, eq=False, unsafe_hash=hashed)(cls)
            if eq:
                made.__eq__ = _equality(made)
            return made

        return make

    def _equality(cls: type[Made]) -> Callable[[Made, object], bool]:
        """Compares field by field, up to the first that differs; that of dataclasses makes two tuples."""
        names = [item.name for item in fields(cls) if item.compare]
        each = "".join(f" and (self.{name} is other.{name} or self.{name} == other.{name})" for name in names)
        source = f"lambda self, other: self is other or (self.__class__ is other.__class__{each})"
        return eval(source, {})


__all__ = ["immutable"]
