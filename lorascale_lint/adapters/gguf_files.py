"""Adapters in GGUF, as llama.cpp loads them; the package `gguf` (the extra of that name) knows the types.

Its own reader is not used: it counts on in a file whose lengths lead beyond its end, until memory is full.
"""

from __future__ import annotations

import struct
from math import prod
from pathlib import Path
from typing import BinaryIO

from lorascale_lint.adapters.header import Header, Tensor
from lorascale_lint.errors import InputError

SUFFIXES = (".gguf",)
# Of a model's own settings (its vocabulary) only what can be an adapter's is kept.
_KEPT = ("adapter.", "general.")
_LONGEST = 1000
_VERSIONS = (2, 3)
_MOST_SETTINGS = 100_000
_MOST_TENSORS = 2_000_000
_MOST_ELEMENTS = 4_000_000
"""Of one list; the largest vocabularies have a few hundred thousand."""
_MOST_DIMENSIONS = 8
_NUMBERS = ("B", "b", "H", "h", "I", "i", "f", "?", "", "", "Q", "q", "d")
"""How `struct` calls the types of settings, by their number; the two without are texts and lists."""
_TEXT, _LIST = 8, 9


def read_gguf_header(path: Path) -> Header:
    """Names, shapes and places of the tensors of a file. Raises InputError if they can't be told."""
    try:
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
    except ImportError:
        raise InputError(f"{path}: GGUF files need the package gguf (lorascale-lint[gguf])") from None
    try:
        with path.open("rb") as file:
            reader = _Reader(file, path.stat().st_size)
            count = reader.begin()
            metadata = reader.settings()
            described = [reader.tensor() for _ in range(count)]
            first = reader.aligned(metadata.get("general.alignment", "32"))
        tensors: dict[str, Tensor] = {}
        for name, shape, number, offset in described:
            kind = GGMLQuantizationType(number)
            block, size = GGML_QUANT_SIZES[kind]
            start = first + offset
            end = start + prod(shape) // block * size
            if end > reader.size or name in tensors:
                raise ValueError(f"`{name[:200]}` lies outside of the file, or is there twice")
            tensors[name] = Tensor(str(kind.name), shape, start, end)
    except OSError as error:
        raise InputError(f"{path}: {error}") from None
    except (ValueError, KeyError) as error:
        raise InputError(f"{path}: not a valid GGUF file: {error}") from None
    kept = {name: text for name, text in metadata.items() if name.startswith(_KEPT)}
    return Header(path, tensors, kept, 0)


class _Reader:
    """Reads on from where it is, and never beyond the end. Raises ValueError where something can't be."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self.size, self._order = file, size, "<"
        self._tensors = self._settings = 0

    def begin(self) -> int:
        """Read the numbers that a file begins with; how many tensors it has."""
        if self._bytes(4) != b"GGUF":
            raise ValueError("it does not begin with `GGUF`")
        version = self._bytes(4)
        self._order = ">" if version[:2] == b"\0\0" else "<"
        if struct.unpack(f"{self._order}I", version)[0] not in _VERSIONS:
            raise ValueError(f"its version is none of {', '.join(map(str, _VERSIONS))}")
        count, self._settings = self._number("Q"), self._number("Q")
        return self._at_most(count, _MOST_TENSORS, "tensors")

    def settings(self) -> dict[str, str]:
        """Texts and numbers by their names; lists are passed over."""
        found: dict[str, str] = {}
        for _ in range(self._at_most(self._settings, _MOST_SETTINGS, "settings")):
            name = self._text()
            if name in found:
                raise ValueError(f"`{name[:200]}` is there twice")
            value = self._value(self._number("I"))
            if value is not None:
                found[name] = value[:_LONGEST]
        return found

    def tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        """Name, shape, type and offset of the next tensor. GGUF counts dimensions from the innermost one."""
        name = self._text()
        dimensions = self._at_most(self._number("I"), _MOST_DIMENSIONS, "dimensions")
        shape = tuple(self._number("Q") for _ in range(dimensions))
        return name, shape[::-1], self._number("I"), self._number("Q")

    def aligned(self, alignment: str) -> int:
        """The next place that is a multiple of so many bytes: where the tensors begin."""
        step = int(alignment)
        if step <= 0 or step & (step - 1):
            raise ValueError("its alignment is no power of two")
        return -(-self._file.tell() // step) * step

    def _value(self, kind: int) -> str | None:
        if kind == _TEXT:
            return self._text()
        if kind == _LIST:
            self._pass_list()
            return None
        return str(self._number(self._struct(kind)))

    def _pass_list(self) -> None:
        kind, count = self._number("I"), self._number("Q")
        self._at_most(count, _MOST_ELEMENTS, "elements in a list")
        if kind == _TEXT:
            for _ in range(count):
                self._pass(self._number("Q"))
        else:
            self._pass(count * struct.calcsize(f"<{self._struct(kind)}"))

    def _struct(self, kind: int) -> str:
        letter = _NUMBERS[kind] if kind < len(_NUMBERS) else ""
        if not letter:  # a list in a list, too, which nothing writes
            raise ValueError(f"there is no type {kind} of settings")
        return letter

    def _number(self, letter: str) -> int:
        (number,) = struct.unpack(self._order + letter, self._bytes(struct.calcsize(f"<{letter}")))
        return number  # type: ignore[no-any-return]

    def _text(self) -> str:
        return self._bytes(self._number("Q")).decode()

    def _bytes(self, count: int) -> bytes:
        self._within(count)
        return self._file.read(count)

    def _pass(self, count: int) -> None:
        self._within(count)
        self._file.seek(count, 1)

    def _within(self, count: int) -> None:
        if count > self.size - self._file.tell():
            raise ValueError("it ends too early")

    @staticmethod
    def _at_most(count: int, most: int, what: str) -> int:
        if count > most:
            raise ValueError(f"{count} {what} are more than any adapter has")
        return count
