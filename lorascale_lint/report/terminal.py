"""What may reach a terminal, how wide it is there, and whether it is coloured."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

# Control and format characters (escape sequences, text direction), surrogates, line separators.
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_TAB = 4


def printable(text: str) -> str:
    """Text with every character escaped that could control a terminal or reorder what it shows."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_printable, text))


def _printable(character: str) -> str:
    if unicodedata.category(character) not in _UNPRINTABLE:
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def width(character: str) -> int:
    """Columns that one printable character takes."""
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def shown(line: str) -> tuple[str, list[int]]:
    """A source line as it is printed, and the column at which each of its characters starts.

    The list has one more item, for the end of the line. Tabs are expanded.
    """
    parts: list[str] = []
    starts = [0]
    for character in line:
        column = starts[-1]
        piece = " " * (_TAB - column % _TAB) if character == "\t" else _printable(character)
        parts.append(piece)
        starts.append(column + sum(map(width, piece)))
    return "".join(parts), starts


@dataclass(frozen=True, slots=True)
class Style:
    """Colours, or none; and where a code leads that is a hyperlink."""

    enabled: bool = False
    page_of: Callable[[str], str | None] | None = None

    @classmethod
    def of(cls, stream: TextIO | None) -> Style:
        """Coloured on a terminal, unless NO_COLOR is set; FORCE_COLOR colours anything else.

        None is a file, which never is a terminal.
        """
        if os.environ.get("NO_COLOR"):
            return cls(False)
        if os.environ.get("FORCE_COLOR", "0") not in ("", "0"):
            return cls(True)
        return cls(stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb")

    def bold(self, text: str) -> str:
        """For places."""
        return self._paint("1", text)

    def red(self, text: str) -> str:
        """For codes and carets."""
        return self._paint("1;31", text)

    def code(self, code: str, url: str | None = None) -> str:
        """For the code of a finding: a hyperlink (OSC 8) to ``url`` or the rule's page."""
        painted = self.red(code)
        address = self.page_of and (url or self.page_of(code))
        if not address or not (address.isascii() and address.isprintable()):
            return painted
        return f"\x1b]8;;{address}\x1b\\{painted}\x1b]8;;\x1b\\"

    def green(self, text: str) -> str:
        """For added lines."""
        return self._paint("32", text)

    def cyan(self, text: str) -> str:
        """For labels."""
        return self._paint("36", text)

    def dim(self, text: str) -> str:
        """For row numbers and frames."""
        return self._paint("2", text)

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.enabled and text else text
