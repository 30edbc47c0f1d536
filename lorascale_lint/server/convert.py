"""From findings to what the language server protocol has for them.

Columns count characters here and UTF-16 units, by default, there; ``codec`` knows what the editor counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lsprotocol import types
from pygls.workspace import PositionCodec

from lorascale_lint.findings import Edit, FileFailure, Finding, Span
from lorascale_lint.report.content import Read, Report

SOURCE = "lorascale-lint"
_SEVERITIES = {"error": types.DiagnosticSeverity.Error, "warning": types.DiagnosticSeverity.Warning}


@dataclass(frozen=True, slots=True)
class Converter:
    """Converts what was said of the texts that ``read`` gives."""

    codec: PositionCodec
    read: Read
    _rows: dict[str, list[str]] = field(default_factory=dict)

    def diagnostics(self, report: Report) -> Iterator[types.Diagnostic]:
        """One for each finding and failure."""
        for failure in report.failures:
            yield self._failure(failure)
        for finding in report.findings:
            yield self.diagnostic(finding)

    def diagnostic(self, finding: Finding) -> types.Diagnostic:
        """A finding; the steps of its trace are related places."""
        effect = f"\n{finding.effect}" if finding.effect else ""
        return types.Diagnostic(
            range=self.range(finding.span),
            message=f"{finding.message}{effect}",
            severity=_SEVERITIES[finding.severity],
            code=finding.code,
            code_description=types.CodeDescription(finding.url) if finding.url else None,
            source=SOURCE,
            tags=[types.DiagnosticTag.Unnecessary] if finding.code == "LS002" else None,
            related_information=[
                types.DiagnosticRelatedInformation(
                    types.Location(uri_of(step.span.filename), self.range(step.span)), step.message
                )
                for step in finding.trace
            ],
        )

    def edits(self, edits: tuple[Edit, ...]) -> types.WorkspaceEdit:
        """The edits of a repair, by document."""
        changes: dict[str, list[types.TextEdit]] = {}
        for edit in edits:
            text = types.TextEdit(self.range(edit.span), edit.content)
            changes.setdefault(uri_of(edit.span.filename), []).append(text)
        return types.WorkspaceEdit(changes=changes)

    def range(self, span: Span) -> types.Range:
        """A span in the editor's units."""
        if (rows := self._rows.get(span.filename)) is None:
            source = self.read(span.filename)
            rows = [source.row(number) + "\n" for number in range(1, source.rows + 1)] if source else []
            self._rows[span.filename] = rows
        start, end = (types.Position(place.row - 1, place.column - 1) for place in (span.start, span.end))
        return self.codec.range_to_client_units(rows, types.Range(start, end))

    def _failure(self, failure: FileFailure) -> types.Diagnostic:
        place = Span(failure.filename, failure.position, failure.position)
        return types.Diagnostic(
            range=self.range(place),
            message=failure.message,
            severity=types.DiagnosticSeverity.Error,
            code=failure.code,
            source=SOURCE,
        )


def uri_of(filename: str) -> str:
    """The address of a file by its name in a finding."""
    return Path(filename).absolute().as_uri()
