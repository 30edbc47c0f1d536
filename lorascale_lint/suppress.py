"""Comments that silence a finding: on a statement, in a block, in a file.

- ``# lorascale: ignore[LS101] reason`` on a row of the statement, or alone on a row above it;
- ``# lorascale: disable[LS101] reason``, alone on a row, up to ``# lorascale: enable[LS101]`` or the end of
  the block of code it stands in;
- ``# lorascale: file-ignore[LS101] reason`` anywhere, for the whole file; ``# lorascale: skip-file``;
- ``# noqa`` and ``# noqa: LS101``, as other linters have it. Ruff removes codes that it does not know from
  ``noqa`` comments (its RUF102), so our own form is preferred.

All take several rules (codes or names), separated by commas.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field, replace

from lorascale_lint.findings import Finding, Position

WORDS = ("ignore", "file-ignore", "disable", "enable", "skip-file")
_OWN = re.compile(r"#\s*lorascale:\s*(?P<word>[\w-]*)(?:\s*\[(?P<rules>[^\]#]*)\])?[^#]*")
# As in ruff, a colon that no code follows silences nothing.
_NOQA = re.compile(
    r"#\s*noqa(?P<colon>\s*:)?\s*(?P<rules>[A-Z][A-Z0-9]*\d(?:[\s,]+[A-Z][A-Z0-9]*\d)*)?[^#]*", re.IGNORECASE
)
_LISTED = re.compile(r"noqa\s*:([^\n]*)", re.IGNORECASE)
_ANY_CODE = re.compile(r"[A-Z]+\d+")
_LAYOUT = (tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)


@dataclass(frozen=True, slots=True)
class NamedRule:
    """A rule in the brackets of a comment, as it is written there; ``columns`` are 1-based, half-open."""

    text: str
    columns: tuple[int, int]

    def is_meant(self, finding: Finding) -> bool:
        """Whether it is the finding's rule."""
        return finding.name == self.text or finding.code in (self.text, self.text.upper())


@dataclass(frozen=True, slots=True)
class Comment:
    """One of our comments, or a ``noqa``.

    ``start`` and ``end`` are the places before its ``#`` and behind its reason. ``rows`` are those that it
    speaks of, ``alone`` says that no code stands on its row, ``pair`` is the ``enable`` of a ``disable``.
    """

    word: str
    start: Position
    end: Position
    rules: tuple[NamedRule, ...] = ()
    rows: range = range(0)
    alone: bool = False
    pair: Comment | None = None

    @property
    def silences_all(self) -> bool:
        """A ``noqa`` without codes, or ``skip-file``."""
        return self.word == "skip-file" or (self.word == "noqa" and not self.rules)

    def silencers(self, finding: Finding) -> Iterator[NamedRule | None]:
        """Its rules that silence the finding; None for a comment that silences all."""
        concerned = self.word in ("file-ignore", "skip-file") or any(
            row in self.rows for row in (finding.span.start.row, *finding.suppression_rows)
        )
        if concerned and self.word != "enable":
            if self.silences_all:
                yield None
            yield from (rule for rule in self.rules if rule.is_meant(finding))


@dataclass(frozen=True, slots=True)
class Suppressions:
    """The comments of one file, in order."""

    comments: tuple[Comment, ...] = field(default=())

    @classmethod
    def read(cls, text: str) -> Suppressions:
        """Read the comments of a file, up to the place where it can't be tokenized."""
        if "lorascale:" not in text and "noqa" not in text.lower():
            return cls()
        tokens = list(_tokens(text))
        return cls(tuple(_paired([_in_place(*found, tokens) for found in _comments(tokens)])))

    @property
    def skip_file(self) -> bool:
        """Whether the file is to be left alone."""
        return any(comment.word == "skip-file" for comment in self.comments)

    def silencers(self, finding: Finding) -> list[tuple[Comment, NamedRule | None]]:
        """The comments that silence a finding, and the rule in each that does."""
        return [(comment, rule) for comment in self.comments for rule in comment.silencers(finding)]

    def silences(self, finding: Finding) -> bool:
        """Whether a comment that concerns the finding's statement names its rule."""
        return any(True for comment in self.comments for _ in comment.silencers(finding))


def may_name_rules(text: str, codes: Container[str] | None = None) -> bool:
    """Can a comment of ``text`` name a rule, one of ``codes`` if they are known, or be one of our own?

    Where it can't, nothing is said of its comments, and the slow way to them is left out.
    """
    if "lorascale:" in text:
        return True
    named = (code for found in _LISTED.finditer(text) for code in _ANY_CODE.findall(found[1].upper()))
    return any(len(code) > 4 if codes is None else code in codes for code in named)


def _comments(tokens: Sequence[tokenize.TokenInfo]) -> Iterator[tuple[int, Comment]]:
    """The comments that concern us, each with the index of its token; their rows are not known yet."""
    for index, token in enumerate(tokens):
        if token.type != tokenize.COMMENT:
            continue
        matches = [*_OWN.finditer(token.string), *_NOQA.finditer(token.string)]
        for match in sorted(matches, key=lambda match: match.start()):
            noqa = match.re is _NOQA
            listed = match["rules"] if not noqa or match["colon"] else None
            if noqa and match["colon"] and not listed:
                continue
            row, column = token.start[0], token.start[1] + 1
            names = (
                ()
                if listed is None
                else re.finditer(r"[^\s,]+" if noqa else r"[^\s,](?:[^,]*[^\s,])?", listed)
            )
            first = column + match.start("rules")
            rules = tuple(NamedRule(name[0], (first + name.start(), first + name.end())) for name in names)
            end = match.start() + len(match[0].rstrip())
            yield (
                index,
                Comment(
                    "noqa" if noqa else match["word"],
                    Position(row, column + match.start()),
                    Position(row, column + end),
                    rules,
                    alone=not token.line[: token.start[1]].strip(),
                ),
            )


def _in_place(index: int, comment: Comment, tokens: Sequence[tokenize.TokenInfo]) -> Comment:
    """The comment with the rows that it speaks of."""
    row = comment.start.row
    if comment.word == "ignore" and comment.alone:
        following = (token for token in tokens[index:] if token.type not in _LAYOUT)
        code = next(following, None)
        return replace(comment, rows=range(row, (code.start[0] if code else row) + 1))
    if comment.word == "disable":
        return replace(comment, rows=range(row, _end_of_block(index, tokens) + 1))
    return replace(comment, rows=range(row, row + 1))


def _end_of_block(index: int, tokens: Sequence[tokenize.TokenInfo]) -> int:
    """The last row of the block of code in which the comment ``tokens[index]`` stands."""
    column, last, begins = tokens[index].start[1], tokens[-1].end[0], True
    for token in tokens[index + 1 :]:
        if token.type == tokenize.NEWLINE:
            begins = True
        elif begins and token.type not in _LAYOUT:
            begins = False
            if token.start[1] < column:
                return token.start[0] - 1
    return last


def _paired(comments: Sequence[Comment]) -> Iterator[Comment]:
    """The comments, each ``disable`` ended by the next ``enable`` of the same rules in its block."""
    for comment in comments:
        ends = (
            other
            for other in comments
            if other.word == "enable"
            and other.start.row in comment.rows[1:]
            and {rule.text for rule in other.rules} == {rule.text for rule in comment.rules}
        )
        if comment.word == "disable" and (end := next(ends, None)):
            comment = replace(comment, rows=range(comment.start.row, end.start.row), pair=end)
        yield comment


def _tokens(text: str) -> Iterator[tokenize.TokenInfo]:
    try:
        yield from tokenize.generate_tokens(io.StringIO(text).readline)
    except (tokenize.TokenError, SyntaxError):
        return
