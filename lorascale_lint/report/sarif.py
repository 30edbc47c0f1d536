"""SARIF 2.1.0, for GitHub's code scanning and other viewers.

File names are relative to ``%SRCROOT%``, the working directory; files elsewhere have absolute URIs. The steps
of a finding are a code flow, its repair is a fix. Columns count characters.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

from lorascale_lint import __version__
from lorascale_lint.findings import FileFailure, Finding, Fix, Position, Span
from lorascale_lint.report.content import Place, Read, Report, places, told
from lorascale_lint.report.terminal import Style
from lorascale_lint.rule import Explained
from lorascale_lint.run_rules import all_pages

Record = dict[str, Any]
_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def render(report: Report, read: Read, style: Style) -> str:
    """One run; pure ASCII."""
    codes = {finding.code for finding in report.findings} | {item.code for item in report.failures}
    rules = [page for page in all_pages() if page.code in codes]
    index = {page.code: number for number, page in enumerate(rules)}
    found = zip(report.findings, places(report.findings, read), strict=True)
    invocation: Record = {"executionSuccessful": not report.failures}
    if report.failures:
        invocation["toolExecutionNotifications"] = [_notification(item) for item in report.failures]
    run = {
        "tool": {"driver": _driver(rules)},
        "columnKind": "unicodeCodePoints",
        "invocations": [invocation],
        "results": [_result(finding, place, index) for finding, place in found],
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _driver(rules: Sequence[Explained]) -> Record:
    return {
        "name": "lorascale-lint",
        "version": __version__,
        "semanticVersion": __version__,
        "rules": [
            {
                "id": page.code,
                "name": page.name,
                "shortDescription": {"text": page.summary()},
                "fullDescription": {"text": page.summary()},
                "help": {"text": page.page(), "markdown": page.page()},
                "defaultConfiguration": {"level": page.severity},
                "properties": {"tags": ["lora", "correctness"], "precision": "very-high"},
            }
            for page in rules
        ],
    }


def _result(finding: Finding, place: Place, index: dict[str, int]) -> Record:
    record: Record = {
        "ruleId": finding.code,
        "ruleIndex": index[finding.code],
        "level": finding.severity,
        "message": {"text": "\n".join(told(finding))},
        "locations": [{"physicalLocation": _place(finding.span)}],
        "partialFingerprints": {"place/v1": _fingerprint(place)},
        "properties": {"confidence": finding.confidence},
    }
    if finding.effect:
        record["properties"]["effect"] = finding.effect
    if finding.proof:
        record["properties"]["proof"] = asdict(finding.proof)
    if finding.trace:
        steps = [
            {"location": {"physicalLocation": _place(step.span), "message": {"text": step.message}}}
            for step in finding.trace
        ]
        record["codeFlows"] = [{"threadFlows": [{"locations": steps}]}]
    if finding.fix:
        record["fixes"] = [_fix(finding.fix)]
    return record


def _fix(fix: Fix) -> Record:
    changes: dict[str, list[Record]] = {}
    for edit in fix.edits:
        region = _region(edit.span.start, edit.span.end)
        replacement = {"deletedRegion": region, "insertedContent": {"text": edit.content}}
        changes.setdefault(edit.span.filename, []).append(replacement)
    return {
        "description": {"text": f"{fix.message} ({fix.applicability})"},
        "artifactChanges": [
            {"artifactLocation": _artifact(filename), "replacements": replacements}
            for filename, replacements in changes.items()
        ],
    }


def _notification(failure: FileFailure) -> Record:
    record: Record = {
        "level": "error",
        "descriptor": {"id": failure.code},
        "message": {"text": f"{failure.name}: {failure.message}"},
    }
    if not failure.filename.startswith("<"):
        place = Span(failure.filename, failure.position, failure.position)
        record["locations"] = [{"physicalLocation": _place(place)}]
    return record


def _place(span: Span) -> Record:
    return {"artifactLocation": _artifact(span.filename), "region": _region(span.start, span.end)}


def _artifact(filename: str) -> Record:
    path = PurePath(filename)
    if path.is_absolute():
        return {"uri": Path(path).as_uri()}
    name = path.as_posix().encode(errors="surrogateescape")
    return {"uri": quote(name), "uriBaseId": "%SRCROOT%"}


def _region(start: Position, end: Position) -> Record:
    return {
        "startLine": start.row,
        "startColumn": start.column,
        "endLine": end.row,
        "endColumn": end.column,
    }


def _fingerprint(place: Place) -> str:
    return hashlib.sha256(repr(place).encode(errors="surrogateescape")).hexdigest()
