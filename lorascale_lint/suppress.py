"""Comments that silence a finding, a rule on a row, or a whole file.

``# lorascale: ignore[LS101] reason`` is preferred: ruff removes codes that it does not know from
``noqa`` comments (its RUF102). Both take several rules, separated by commas.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field

from lorascale_lint.findings import Finding

_OWN = re.compile(r"#\s*lorascale:\s*(?P<word>ignore|skip-file)\b(?:\s*\[(?P<rules>[^\]]*)\])?")
# As in ruff, a colon that no code follows silences nothing.
_NOQA = re.compile(
    r"#\s*noqa(?P<colon>\s*:)?\s*(?P<codes>[A-Z][A-Z0-9]*\d(?:[\s,]+[A-Z][A-Z0-9]*\d)*)?", re.IGNORECASE
)


@dataclass(slots=True)
class Suppressions:
    """What the comments of one file silence; ``bare_rows`` hold an ``ignore`` that names no rule."""

    skip_file: bool = False
    bare_rows: list[int] = field(default_factory=list)
    named: list[tuple[int, str]] = field(default_factory=list)
    _rules: dict[int, set[str]] = field(default_factory=dict)
    _everything: set[int] = field(default_factory=set)

    @classmethod
    def read(cls, text: str) -> Suppressions:
        """Read the comments of a file, up to the place where it can't be tokenized."""
        found = cls()
        if "lorascale:" in text or "noqa" in text.lower():
            for row, comment in _comments(text):
                found._add(row, comment)
        return found

    def silences(self, finding: Finding) -> bool:
        """Whether a comment on a row of the finding's statement names its rule."""
        rows = {finding.span.start.row, *finding.suppression_rows}
        return self.skip_file or any(
            row in self._everything
            or not self._rules.get(row, set()).isdisjoint((finding.code, finding.name))
            for row in rows
        )

    def _add(self, row: int, comment: str) -> None:
        for own in _OWN.finditer(comment):
            rules = [rule.strip() for rule in (own["rules"] or "").split(",") if rule.strip()]
            if own["word"] == "skip-file":
                self.skip_file = True
            elif not rules:
                self.bare_rows.append(row)
            for rule in rules:
                self.named.append((row, rule))
                self._rules.setdefault(row, set()).update((rule, rule.upper()))
        if noqa := _NOQA.search(comment):
            if noqa["codes"] and noqa["colon"]:
                self._rules.setdefault(row, set()).update(re.split(r"[\s,]+", noqa["codes"].upper()))
            elif not noqa["colon"]:
                self._everything.add(row)


def _comments(text: str) -> Iterator[tuple[int, str]]:
    """Row and text of each comment."""
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string
    except (tokenize.TokenError, SyntaxError):
        return
