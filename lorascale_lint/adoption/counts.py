"""How many findings of a rule each definition of a file has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from lorascale_lint.findings import Finding
from lorascale_lint.report.content import Read, Report, places


class Spot(NamedTuple):
    """Where a rule has findings; added and moved lines do not change it. ``definition`` may be empty."""

    filename: str
    code: str
    definition: str


Counts = Mapping[Spot, int]


def counts(findings: Iterable[Finding], read: Read) -> Counts:
    """How many findings each spot has."""
    found = tuple(sorted(findings, key=lambda finding: finding.sort_key))
    return Counter(Spot(*place[:3]) for place in places(found, read))


def leave_out(report: Report, read: Read, known: Counts) -> Report:
    """The report without what is known.

    Where a spot has more findings than are known, which of them is new can't be told: all are reported.
    """
    if not known or not report.findings:
        return report
    spots = [Spot(*place[:3]) for place in places(report.findings, read)]
    now = Counter(spots)
    new = tuple(
        finding
        for finding, spot in zip(report.findings, spots, strict=True)
        if now[spot] > known.get(spot, 0)
    )
    return replace(report, findings=new, known=report.known + len(report.findings) - len(new))
