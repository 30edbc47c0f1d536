"""Dataclasses that nobody changes: defined by the hundred at each start, and made by the million."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from operator import attrgetter
from threading import RLock
from typing import TYPE_CHECKING, Any

_ONE_AT_A_TIME = RLock()
"""Held while a class is read: what its fields say of themselves is there once."""

if TYPE_CHECKING:
    from dataclasses import dataclass as immutable, replace  # mypy holds that nobody changes one
else:

    def immutable(*, frozen: bool, slots: bool, eq: bool = True) -> Callable[[type], type]:
        """A dataclass whose methods are written when they are first asked for, and set fields directly.

        To write those of all classes took half of the time in which the engine and the rules are imported,
        and most runs make objects of few; to make one that refuses changes takes twice as long.
        """
        return lambda cls: _slotted(cls, hashed=frozen and eq, equal=eq)

    def replace(value: Any, /, **changes: Any) -> Any:
        """Another one with other fields, as `dataclasses.replace` makes it, in a third of the time."""
        cls = value.__class__
        if cls not in _READERS:
            _READERS[cls] = _reader(cls)
        read = _READERS[cls]
        if read is None:
            return dataclasses.replace(value, **changes)
        made = cls(*read(value))
        for name, item in changes.items():
            setattr(made, name, item)
        return made


_OURS: set[type] = set()
_READERS: dict[type, Callable[[Any], Iterable[Any]] | None] = {}
"""What reads all fields of an object of a class; None for one that is made in another way."""


def _reader(cls: type) -> Callable[[Any], Iterable[Any]] | None:
    found = fields(cls)
    if cls not in _OURS or hasattr(cls, "__post_init__") or not all(item.init for item in found):
        return None
    names = [item.name for item in found]
    return attrgetter(*names) if len(names) > 1 else lambda value: [getattr(value, name) for name in names]


class _Later:
    """A method, or the fields, of a class: written when somebody asks for it."""

    def __init__(self, name: str, write: Callable[[], Any]) -> None:
        self._name = name
        self._write = write

    def __set_name__(self, owner: type, name: str) -> None:
        self._owner = owner

    def __get__(self, instance: object | None, owner: type | None = None) -> Any:
        setattr(self._owner, self._name, self._write())
        return getattr(owner if instance is None else instance, self._name)


def _slotted(cls: type, *, hashed: bool, equal: bool) -> type:
    own = dict(vars(cls))
    names = [name for name, note in own.get("__annotations__", {}).items() if "ClassVar" not in str(note)]
    given = [name for name in names if getattr(own.get(name), "init", True)]
    filled: list[type] = []

    def full() -> type:
        """The class with what `dataclasses` makes of it: a constructor, and descriptions of its fields."""
        with _ONE_AT_A_TIME:
            if not filled:
                filled.append(dataclass(eq=False, repr=False, match_args=False)(cls))
        return filled[0]

    for name in ("__dict__", "__weakref__", *names):
        own.pop(name, None)
    own["__slots__"] = tuple(names)
    own.setdefault("__match_args__", (*getattr(cls, "__match_args__", ()), *given))
    later = {
        "__init__": lambda: vars(full())["__init__"],
        "__dataclass_fields__": lambda: vars(full())["__dataclass_fields__"],
        "__dataclass_params__": lambda: vars(full())["__dataclass_params__"],
    }
    if equal:
        later["__eq__"] = lambda: _equality(full())
    if hashed:
        later["__hash__"] = lambda: _hash(full())
    for name, write in later.items():
        own.setdefault(name, _Later(name, write))
    own.setdefault("__repr__", _shown)
    made = type(cls)(cls.__name__, cls.__bases__, own)
    _OURS.add(made)
    return made


def _compared(cls: type) -> Iterator[str]:
    return (item.name for item in fields(cls) if item.compare)


def _equality(cls: type) -> Any:
    """Compares field by field, up to the first that differs; that of dataclasses makes two tuples."""
    each = "".join(
        f" and (self.{name} is other.{name} or self.{name} == other.{name})" for name in _compared(cls)
    )
    return eval(f"lambda self, other: self is other or (self.__class__ is other.__class__{each})", {})


def _hash(cls: type) -> Any:
    each = "".join(f"self.{name}, " for name in _compared(cls))
    return eval(f"lambda self: hash(({each}))", {})


def _shown(self: Any) -> str:
    each = (f"{item.name}={getattr(self, item.name)!r}" for item in fields(self) if item.repr)
    return f"{type(self).__qualname__}({', '.join(each)})"


__all__ = ["immutable", "replace"]
