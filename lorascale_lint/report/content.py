"""What a report contains."""

from __future__ import annotations

from dataclasses import dataclass

from lorascale_lint.findings import FileFailure, Finding


@dataclass(frozen=True, slots=True)
class Report:
    """Findings and failures in order, and the number of files checked."""

    findings: tuple[Finding, ...]
    failures: tuple[FileFailure, ...] = ()
    checked: int = 0
