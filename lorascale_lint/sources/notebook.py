"""A Jupyter notebook as one Python text, and back, byte for byte outside the rows that changed.

The code cells stand one below the other, each under a row that names it. What only IPython understands
(``%magic``, ``!shell``, cells of other languages) stands there as a placeholder, and comes back as it was.
"""

from __future__ import annotations

import ast
import contextlib
import itertools
import json
import re
import warnings
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

_LAYOUTS: tuple[dict[str, Any], ...] = tuple(
    {"indent": indent, "ensure_ascii": ascii_only, "separators": separators}
    for indent, ascii_only, separators in itertools.product(
        (1, 2, 4, None, "\t"), (False, True), ((",", ": "), (", ", ": "), (",", ":"))
    )
)
_MAGIC = re.compile(r"\s*(?:[%!?]|[\w.,() ]+=\s*[%!]|[\w.]+\?{1,2}\s*$)")
_PYTHON_MAGICS = re.compile(r"%%(?:time|timeit|capture|prun|debug|python3?|ipython|ipytest)\b")
_PLACEHOLDER = re.compile(r"\s*(?:pass  )?# row (\d+) of IPython\s*")


class NotANotebook(ValueError):
    """The bytes are no notebook of format 4; the text says why."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A code cell: its number among all cells, from 1, and the row of the text in which it begins."""

    number: int
    row: int


@dataclass(frozen=True, slots=True)
class Notebook:
    """One notebook; ``text`` is the Python that is linted."""

    raw: bytes
    text: str
    _marker: str = field(repr=False)
    _placeholders: tuple[str, ...] = field(repr=False)

    @classmethod
    def read(cls, raw: bytes) -> Notebook | None:
        """Read a notebook; None if its language is not Python. Raises `NotANotebook`."""
        document = _document(raw)
        if not _is_python(document.get("metadata")):
            return None
        cells = list(_code_cells(document))
        marker = "# %% cell "
        while any(line.startswith(marker) for _, source in cells for line in source.split("\n")):
            marker = f"{marker[:2]}%{marker[2:]}"
        rows: list[str] = []
        placeholders: list[str] = []
        for number, source in cells:
            rows.append(f"{marker}{number}")
            rows += _python_rows(source, placeholders)
        return cls(raw, "".join(f"{row}\n" for row in rows), marker, tuple(placeholders))

    def cells(self, text: str) -> tuple[Cell, ...]:
        """The cells in ``text``: that of the notebook, or one that became of it."""
        return tuple(
            Cell(int(row.removeprefix(self._marker)), number + 1)
            for number, row in enumerate(text.split("\n"), start=1)
            if row.startswith(self._marker)
        )

    def cell_at(self, text: str, row: int) -> Cell:
        """The cell that a row of ``text`` belongs to."""
        cells = self.cells(text)
        index = bisect_right([cell.row - 1 for cell in cells], row) - 1
        return cells[max(index, 0)] if cells else Cell(1, 1)

    def source_of(self, text: str, cell: Cell) -> str:
        """The rows of a cell in ``text``."""
        rows = text.split("\n")[cell.row - 1 :]
        return "\n".join(itertools.takewhile(lambda row: not row.startswith(self._marker), rows))

    def with_text(self, text: str) -> bytes:
        """The notebook whose cells hold ``text``. Raises ValueError if more would change."""
        document = _document(self.raw)
        written = _written_as(document, self.raw)
        changed = {cell.number: self.source_of(text, cell) for cell in self.cells(text)}
        former = {cell.number: self.source_of(self.text, cell) for cell in self.cells(self.text)}
        if changed.keys() != former.keys():
            raise ValueError("a cell would be lost")
        for number, source in changed.items():
            if source != former[number]:
                cell = document["cells"][number - 1]
                restored = "\n".join(self._restored(row) for row in source.split("\n"))
                end = "\n" if _joined(cell["source"]).endswith("\n") else ""
                restored = restored.rstrip("\n") + end
                as_list = isinstance(cell["source"], list)
                cell["source"] = restored.splitlines(keepends=True) if as_list else restored
        return written(document)

    def row_on_disk(self, text: str, row: int) -> int:
        """The row of the file that holds a row of ``text``; 1 where the file is not laid out in rows."""
        cell = self.cell_at(text, row)
        raw_rows = self.raw.decode(errors="replace").split("\n")
        place = 0
        for number, source in _code_cells(_document(self.raw)):
            for index, line in enumerate(source.split("\n")):
                wanted = {json.dumps(line, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
                found = next((at for at in range(place, len(raw_rows)) if _holds(raw_rows[at], wanted)), None)
                if found is None:
                    return 1
                place = found + 1
                if number == cell.number and index == row - cell.row:
                    return place
        return 1

    def _restored(self, row: str) -> str:
        found = _PLACEHOLDER.fullmatch(row)
        return self._placeholders[int(found[1])] if found else row


def _holds(raw_row: str, wanted: set[str]) -> bool:
    written = raw_row.strip().rstrip(",")
    return written[:1] == '"' and written[1:-1].removesuffix("\\n") in wanted


def _document(raw: bytes) -> dict[str, Any]:
    try:
        document = json.loads(raw)
    except RecursionError as error:
        raise NotANotebook("nested too deeply") from error
    except ValueError as error:
        raise NotANotebook(f"is no JSON: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("cells"), list):
        raise NotANotebook("has no cells as notebooks of format 4 have them")
    return document


def _is_python(metadata: Any) -> bool:
    """Yes also where the notebook does not say."""
    for key, name in (("language_info", "name"), ("kernelspec", "language")):
        part = metadata.get(key) if isinstance(metadata, dict) else None
        if isinstance(part, dict) and isinstance(part.get(name), str):
            return part[name].lower() in ("python", "ipython")
    return True


def _code_cells(document: dict[str, Any]) -> Iterator[tuple[int, str]]:
    for number, cell in enumerate(document["cells"], start=1):
        if isinstance(cell, dict) and cell.get("cell_type") == "code":
            yield number, _joined(cell.get("source")).removesuffix("\n")


def _joined(source: Any) -> str:
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        return "".join(source)
    if isinstance(source, str):
        return source
    raise NotANotebook("has a cell whose source is no text")


def _python_rows(source: str, placeholders: list[str]) -> Iterator[str]:
    rows = source.split("\n")
    if rows[0].startswith("%%"):
        python = _PYTHON_MAGICS.match(rows[0])
        yield _placeholder(rows[0], placeholders, statement=False)
        for row in rows[1:]:
            yield row if python else _placeholder(row, placeholders, statement=False)
        return
    magic = not _parses(source)
    for row in rows:
        if magic and _MAGIC.match(row):
            yield _placeholder(row, placeholders, statement=True)
        else:
            yield row


def _placeholder(row: str, placeholders: list[str], *, statement: bool) -> str:
    placeholders.append(row)
    indent = row[: len(row) - len(row.lstrip())]
    return f"{indent}{'pass  ' if statement else ''}# row {len(placeholders) - 1} of IPython"


def _parses(source: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _written_as(document: dict[str, Any], raw: bytes) -> Callable[[Any], bytes]:
    """The function that writes the document as it was written. Raises ValueError if none does."""
    tail = raw[len(raw.rstrip()) :]
    for layout in _LAYOUTS:
        with contextlib.suppress(UnicodeEncodeError):
            if json.dumps(document, **layout).encode() + tail == raw:
                return lambda content: json.dumps(content, **layout).encode() + tail
    raise ValueError("is laid out in a way that would not be kept")
