"""Comments that silence nothing (LS002, LS003), as findings that `--fix` removes."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping

from lorascale_lint.findings import Edit, Finding, Fix, Position, Span
from lorascale_lint.run_rules import UnknownSuppression, UnusedSuppression
from lorascale_lint.sources.text import SourceText
from lorascale_lint.suppress import WORDS, Comment, NamedRule, Suppressions

Mention = tuple[Comment, NamedRule | None]
"""A comment, and the rule in it if it names one."""


def dead_suppressions(
    filename: str,
    source: SourceText,
    found: Suppressions,
    *,
    used: Collection[Mention],
    ran: Collection[str],
    names: Mapping[str, str],
) -> Iterator[Finding]:
    """What is wrong with the comments of one file.

    ``used`` are those that silenced a finding, ``ran`` the codes of the rules that were run on the file to
    the end, ``names`` the names of all rules by code.
    """
    pairs = [comment.pair for comment in found.comments if comment.pair]
    for comment in found.comments:
        report = _Reporter(filename, source, comment)
        if comment.word not in (*WORDS, "noqa"):
            near = difflib.get_close_matches(comment.word, WORDS, n=1, cutoff=0.0)[0]
            yield report.unknown(f"`lorascale: {comment.word}` means nothing; did you mean {near!r}?")
            continue
        if not comment.rules and not comment.silences_all:
            yield report.unknown(f"`lorascale: {comment.word}` silences nothing without a rule in brackets")
        elif comment.word == "enable" and comment not in pairs:
            yield report.unused("no `lorascale: disable` with the same rules stands above in this block")
        for rule in comment.rules:
            codes = {code for code, name in names.items() if rule.text == name or rule.text.upper() == code}
            if not codes:
                if comment.word != "noqa":
                    near = _nearest(rule.text, names)
                    yield report.unknown(f"no rule is called {rule.text!r}; did you mean {near!r}?", rule)
            elif comment.word != "enable" and codes <= {*ran} and (comment, rule) not in used:
                yield report.unused(f"{rule.text} finds nothing here", rule)


def _nearest(text: str, names: Mapping[str, str]) -> str:
    by_code = difflib.get_close_matches(text.upper(), names, n=1)
    return (by_code or difflib.get_close_matches(text, [*names.values(), *names], n=1, cutoff=0.0))[0]


class _Reporter:
    """Makes the findings of one comment, each with the edit that removes the comment or one rule in it."""

    def __init__(self, filename: str, source: SourceText, comment: Comment) -> None:
        self._filename = filename
        self._source = source
        self._comment = comment

    def unused(self, message: str, rule: NamedRule | None = None) -> Finding:
        return self._finding(UnusedSuppression, message, rule)

    def unknown(self, message: str, rule: NamedRule | None = None) -> Finding:
        return self._finding(UnknownSuppression, message, rule)

    def _finding(
        self, page: type[UnusedSuppression | UnknownSuppression], message: str, rule: NamedRule | None
    ) -> Finding:
        row = self._comment.start.row
        start, end = self._comment.start, self._comment.end
        if rule is not None:
            start, end = (Position(row, column) for column in rule.columns)
        return Finding(
            page.code,
            page.name,
            message,
            Span(self._filename, start, end),
            severity="warning",
            fix=Fix("safe", "Remove it", tuple(self._edits(rule))),
        )

    def _edits(self, rule: NamedRule | None) -> Iterator[Edit]:
        comment = self._comment
        if rule is not None and len(comment.rules) > 1:
            yield self._without(comment, rule)
            if comment.pair:
                (same,) = (other for other in comment.pair.rules if other.text == rule.text)
                yield self._without(comment.pair, same)
            return
        yield self._removal(comment)
        if comment.pair:
            yield self._removal(comment.pair)

    def _without(self, comment: Comment, rule: NamedRule) -> Edit:
        """One rule less in the brackets, with the comma before it, or after the first."""
        index = comment.rules.index(rule)
        start, end = rule.columns
        if index:
            start = comment.rules[index - 1].columns[1]
        else:
            end = comment.rules[1].columns[0]
        row = comment.start.row
        return Edit(Span(self._filename, Position(row, start), Position(row, end)), "")

    def _removal(self, comment: Comment) -> Edit:
        """The comment with the space before it; the whole row if nothing else is on it."""
        row = comment.start.row
        line = self._source.row(row)
        before = line[: comment.start.column - 1].rstrip()
        after = line[comment.end.column - 1 :].strip()
        if not before and not after and row < self._source.rows:
            return Edit(Span(self._filename, Position(row, 1), Position(row + 1, 1)), "")
        start, end = Position(row, len(before) + 1), comment.end
        if after:  # another comment follows
            start, end = comment.start, Position(row, len(line) - len(after) + 1)
        return Edit(Span(self._filename, start, end), "")
