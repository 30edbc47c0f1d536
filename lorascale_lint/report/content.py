"""What a report contains, and what its renderers may ask for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from lorascale_lint.findings import FileFailure, Finding
from lorascale_lint.sources.definitions import Definitions
from lorascale_lint.sources.text import SourceText

Read = Callable[[str], SourceText | None]
"""The text of a file by its name in the findings; None when it can't be read."""


@dataclass(frozen=True, slots=True)
class Report:
    """Findings and failures in order, and the number of files checked.

    ``judged`` and ``unjudged`` count applications whose scale is known and those whose scale is not; None
    where nobody counted. ``known`` counts findings left out because they are known; ``unshown`` are those
    below the confidence or severity that was asked for. ``ways`` is what `map` says of the files with
    findings, for the format that draws it.
    """

    findings: tuple[Finding, ...]
    failures: tuple[FileFailure, ...] = ()
    checked: int = 0
    judged: int | None = None
    unjudged: int | None = None
    known: int = 0
    unshown: tuple[Finding, ...] = ()
    ways: Mapping[str, Any] | None = None


def told(finding: Finding) -> list[str]:
    """The message, and below it the effect and what came of running the code, where there is such a thing."""
    proof = finding.proof.sentence() if finding.proof else None
    return [line for line in (finding.message, finding.effect, proof) if line]


class Place(NamedTuple):
    """What stays when lines move: file, rule, enclosing definition, and a number among those alike."""

    filename: str
    code: str
    definition: str
    number: int


def places(findings: tuple[Finding, ...], read: Read) -> tuple[Place, ...]:
    """The place of each finding, in the same order."""

    @cache
    def definitions(filename: str) -> Definitions:
        source = read(filename)
        return Definitions.of(source.text) if source else Definitions(())

    seen: Counter[tuple[str, str, str]] = Counter()
    found = []
    for finding in findings:
        filename = finding.span.filename
        key = (filename, finding.code, definitions(filename).at(finding.span.start.row))
        found.append(Place(*key, seen[key]))
        seen[key] += 1
    return tuple(found)
