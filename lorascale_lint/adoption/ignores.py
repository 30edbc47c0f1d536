"""`--add-ignore`: a comment for every finding, so that a project can start clean and decide later."""

from __future__ import annotations

import io
import tokenize
from collections.abc import Iterable, Iterator, Mapping

from lorascale_lint.findings import Finding
from lorascale_lint.sources.text import SourceText
from lorascale_lint.suppress import Comment, Suppressions


def add_ignores(source: SourceText, findings: Iterable[Finding], reason: str) -> bytes:
    """The file with a comment for each of its findings; the code of no row changes.

    A comment goes to the end of a row of the finding's statement, or into the brackets of one that is there,
    or above the statement where no row of it can hold a comment. Raises UnicodeEncodeError when the file's
    encoding lacks a character of ``reason``.
    """
    free = _rows_with_room(source.text)
    wanted: dict[tuple[bool, int], list[str]] = {}
    for finding in findings:
        rows = (finding.span.start.row, finding.span.end.row, *sorted(finding.suppression_rows))
        row = next((row for row in rows if row in free), None)
        place = (True, row) if row else (False, min(rows))
        names = wanted.setdefault(place, [])
        if finding.name not in names:
            names.append(finding.name)
    present = {
        comment.start.row: comment
        for comment in Suppressions.read(source.text).comments
        if comment.word == "ignore" and comment.rules and not comment.alone
    }
    return source.encode("".join(_rows(source, wanted, present, reason)))


def _rows(
    source: SourceText,
    wanted: Mapping[tuple[bool, int], list[str]],
    present: Mapping[int, Comment],
    reason: str,
) -> Iterator[str]:
    behind = f" {reason}" if reason else ""
    for number in range(1, source.rows + 1):
        line = source.row(number)
        if names := wanted.get((False, number)):
            indent = line[: len(line) - len(line.lstrip())]
            yield f"{indent}# lorascale: ignore[{', '.join(names)}]{behind}{source.newline}"
        if names := wanted.get((True, number)):
            if number in present:
                end = present[number].rules[-1].columns[1] - 1
                line = f"{line[:end]}, {', '.join(names)}{line[end:]}"
            else:
                line = f"{line.rstrip()}  # lorascale: ignore[{', '.join(names)}]{behind}"
        yield line + source.row_end(number)


def _rows_with_room(text: str) -> set[int]:
    """Rows whose end may hold a comment: not those that end in a string or with a backslash."""
    try:
        return {
            token.start[0]
            for token in tokenize.generate_tokens(io.StringIO(text).readline)
            if token.type in (tokenize.NEWLINE, tokenize.NL)
        }
    except (tokenize.TokenError, SyntaxError):
        return set()
