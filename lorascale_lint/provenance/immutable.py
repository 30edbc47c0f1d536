"""Dataclasses that nobody changes, and that are made by the million."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from dataclasses import dataclass as immutable  # mypy holds that nobody changes one
else:
    Made = TypeVar("Made")

    def immutable(*, frozen: bool, slots: bool) -> Callable[[type[Made]], type[Made]]:
        """A dataclass whose fields are set directly: frozen ones take twice as long for it."""

        def make(cls: type[Made]) -> type[Made]:
            return dataclass(slots=slots, unsafe_hash=frozen and "__hash__" not in vars(cls))(cls)

        return make


__all__ = ["immutable"]
