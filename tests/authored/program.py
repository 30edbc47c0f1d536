"""What one program is: its text, where it is wrong, and how it is mended."""

from __future__ import annotations

import re
from dataclasses import dataclass

NEAR = 3
_FILE = re.compile(r"### (\S+)")


@dataclass(frozen=True, slots=True)
class Program:
    """``text`` has ``#!`` at the rows that are wrong, and ``### name`` before each further file."""

    name: str
    code: str
    text: str
    mends: tuple[tuple[str, str], ...] = ()
    confidence: str = "high"

    def files(self, *, mended: bool = False) -> dict[str, str]:
        """The text of each file, without marks."""
        text = self.text
        for old, new in self.mends if mended else ():
            assert old in text, old
            text = text.replace(old, new)
        return {name: rows.replace("  #!", "") for name, rows in _split(text).items()}

    def wrong(self) -> set[tuple[str, int]]:
        """File and row of each mark, and what is near."""
        return {
            (name, number + away)
            for name, text in _split(self.text).items()
            for number, row in enumerate(text.splitlines(), 1)
            if row.endswith("#!")
            for away in range(-NEAR, NEAR + 1)
        }


def _split(text: str) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    name = "main.py"
    for row in text.strip("\n").split("\n"):
        head = _FILE.match(row)
        if head is not None:
            name = head[1]
        else:
            found.setdefault(name, []).append(row)
    return {name: "\n".join(rows) + "\n" for name, rows in found.items()}
