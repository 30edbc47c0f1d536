"""What a lint run found, and the cache that answers for a run over the same files."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from lorascale_lint.cache import ContentCache, code_digest, content_key
from lorascale_lint.findings import Edit, FileFailure, Finding, Fix, Position, Span, TraceStep


@dataclasses.dataclass(frozen=True, slots=True)
class LintResult:
    """Findings in the target files, sorted, before suppression and selection of rules."""

    findings: tuple[Finding, ...]
    failures: tuple[FileFailure, ...]
    checked: int


class ResultCache:
    """Results by the names and contents of all files of a run, and by the rules."""

    def __init__(self, folder: Path) -> None:
        self._kept = ContentCache(folder / "results")

    def key(
        self,
        sources: Mapping[Path, bytes],
        modules: Mapping[Path, str],
        targets: Collection[Path],
        codes: Collection[str] | None,
    ) -> str:
        """The key of a run: a finding speaks of rows, names and other files, so every byte counts."""
        parts = [code_digest(_program()), json.dumps(None if codes is None else sorted(codes)).encode()]
        for path in sorted(sources):
            head = f"{path}\0{modules[path]}\0{path in targets}"
            parts += [head.encode(errors="surrogatepass"), sources[path]]
        return content_key(*parts)

    def read(self, key: str) -> LintResult | None:
        """The result of the run if it is kept."""
        data = self._kept.read(key)
        try:
            return None if data is None else _result(json.loads(data))
        except (LookupError, TypeError, ValueError, RecursionError):
            return None

    def write(self, key: str, result: LintResult) -> None:
        """Keep a result."""
        self._kept.write(key, json.dumps(dataclasses.asdict(result), separators=(",", ":")).encode())

    def trim(self) -> None:
        """Forget runs that were not repeated for long."""
        self._kept.trim()


def _program() -> tuple[Path, ...]:
    import lorascale_lint.codemods
    import lorascale_lint.rules

    packages = (lorascale_lint, lorascale_lint.rules, lorascale_lint.codemods)
    return tuple(Path(folder) for package in packages for folder in package.__path__)


def _result(item: dict[str, Any]) -> LintResult:
    return LintResult(
        tuple(_finding(found) for found in item["findings"]),
        tuple(
            FileFailure(**failure | {"position": Position(**failure["position"])})
            for failure in item["failures"]
        ),
        item["checked"],
    )


def _finding(item: dict[str, Any]) -> Finding:
    fix = item["fix"]
    return Finding(
        **item
        | {
            "span": _span(item["span"]),
            "trace": tuple(TraceStep(_span(step["span"]), step["message"]) for step in item["trace"]),
            "fix": None
            if fix is None
            else Fix(
                fix["applicability"],
                fix["message"],
                tuple(Edit(_span(edit["span"]), edit["content"]) for edit in fix["edits"]),
            ),
            "suppression_rows": tuple(item["suppression_rows"]),
        }
    )


def _span(item: dict[str, Any]) -> Span:
    return Span(item["filename"], Position(**item["start"]), Position(**item["end"]))
