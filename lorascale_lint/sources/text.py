"""Bytes of a Python file to text and back, with the rows and columns of a finding."""

from __future__ import annotations

import codecs
import io
import re
import tokenize
from bisect import bisect_right
from dataclasses import dataclass, field

from lorascale_lint.findings import Position

_NO_ENCODING = frozenset({"idna", "punycode", "undefined"})
"""Codecs that Python would try on a source; the first two take quadratic time."""
# Only these end a row for Python. `str.splitlines` also breaks at form feed, U+0085, U+2028 and others.
_ROW_END = re.compile(r"\r\n|\r|\n")


class UndecodableSource(ValueError):
    """The bytes are not text in the encoding that the file declares."""


@dataclass(frozen=True, slots=True)
class SourceText:
    """The decoded text of one file; a byte-order mark is part of ``encoding``, not of ``text``."""

    text: str
    encoding: str
    newline: str
    _starts: tuple[int, ...] = field(repr=False)

    @classmethod
    def decode(cls, data: bytes) -> SourceText:
        """Decode as Python does: byte-order mark, encoding cookie, else UTF-8.

        Raises `UndecodableSource`.
        """
        try:
            encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
            if codecs.lookup(encoding).name in _NO_ENCODING:
                raise UnicodeError(f"{encoding} is no encoding of source text")
            text = data.decode(encoding)
        except (
            SyntaxError,
            UnicodeError,
            LookupError,
        ) as error:  # a codec from bytes to bytes is a LookupError
            raise UndecodableSource(str(error)) from error
        ends = list(_ROW_END.finditer(text))
        newline = ends[0].group() if ends else "\n"
        return cls(text, encoding, newline, (0, *(end.end() for end in ends)))

    def encode(self, text: str) -> bytes:
        """Bytes of ``text`` in this file's encoding, with its byte-order mark if it has one.

        Raises UnicodeEncodeError when the encoding has no such character.
        """
        return text.encode(self.encoding)

    @property
    def rows(self) -> int:
        """Number of rows; a final line end opens one more, empty row."""
        return len(self._starts)

    def row(self, number: int) -> str:
        """Text of the 1-based row without its line end; empty when there is no such row."""
        if not 1 <= number <= self.rows:
            return ""
        end = self._starts[number] if number < self.rows else len(self.text)
        return self.text[self._starts[number - 1] : end].rstrip("\r\n")

    def row_end(self, number: int) -> str:
        """The line end of the 1-based row; empty for the last one."""
        end = self._starts[number] if number < self.rows else len(self.text)
        return self.text[self._starts[number - 1] + len(self.row(number)) : end]

    def offset(self, position: Position) -> int:
        """Index into ``text`` of a 1-based row and column. Raises ValueError outside the text."""
        if 1 <= position.row <= self.rows and 1 <= position.column <= len(self.row(position.row)) + 1:
            return self._starts[position.row - 1] + position.column - 1
        raise ValueError(f"row {position.row}, column {position.column} is not in the file")

    def position(self, offset: int) -> Position:
        """The inverse of `offset`."""
        row = bisect_right(self._starts, offset)
        return Position(row, offset - self._starts[row - 1] + 1)
