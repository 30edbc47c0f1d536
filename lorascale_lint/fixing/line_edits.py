"""From old and new lines to the edits of those that differ."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence

from lorascale_lint.findings import Edit, Position, Span

_LINE_END = re.compile(r"(?<=\n)|(?<=\r)(?!\n)")


def lines_of(text: str) -> list[str]:
    """The lines of ``text`` with their ends, as LibCST counts them."""
    return [line for line in _LINE_END.split(text) if line]


def line_edits(filename: str, old: str, new: str) -> tuple[Edit, ...]:
    """Edits that turn ``old`` into ``new``, one for each run of differing lines."""
    before = lines_of(old)
    return part_edits(filename, before, [(0, len(before), lines_of(new))])


def part_edits(
    filename: str, before: Sequence[str], parts: Sequence[tuple[int, int, Sequence[str]]]
) -> tuple[Edit, ...]:
    """The same where only some parts differ: ``(first, last, new lines)`` of each, in order."""
    edits: list[Edit] = []
    floor = 0  # end of the edit before, in old lines
    for start, end, new in parts:
        for first, last, added in _differences(before[start:end], new):
            first, last, above, floor = first + start, last + start, floor, last + start
            if first == last:  # one place for one insertion, however the lines around it repeat
                while first - 1 > above and added[-1] == before[first - 1]:
                    first, added = first - 1, [added[-1], *added[:-1]]
                last = first
            span = Span(filename, _line_start(before, first), _line_start(before, last))
            edits.append(Edit(span, "".join(added)))
    return tuple(edits)


def _differences(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[int, int, list[str]]]:
    head = _common(old, new)
    tail = _common(old[head:][::-1], new[head:][::-1])
    inner_old, inner_new = old[head : len(old) - tail], new[head : len(new) - tail]
    matcher = difflib.SequenceMatcher(None, inner_old, inner_new, autojunk=False)
    for tag, first, last, start, end in matcher.get_opcodes():
        if tag != "equal":
            yield head + first, head + last, list(inner_new[start:end])


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """How many lines both begin with."""
    count = 0
    for line, twin in zip(one, other, strict=False):
        if line != twin:
            break
        count += 1
    return count


def _line_start(lines: Sequence[str], index: int) -> Position:
    """Place of the start of a line; past the last one, the end of the text."""
    if index < len(lines) or not lines or lines[-1].endswith(("\n", "\r")):
        return Position(index + 1, 1)
    return Position(len(lines), len(lines[-1]) + 1)
