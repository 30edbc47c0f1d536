"""What a lint run found, and the cache that answers for a run over the same files."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Collection, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from lorascale_lint.cache import ContentCache, code_digest, content_key
from lorascale_lint.findings import Edit, FileFailure, Finding, Fix, Position, Span, TraceStep
from lorascale_lint.knowledge import project
from lorascale_lint.plug_ins import digest_of
from lorascale_lint.rule import all_rules


@dataclasses.dataclass(frozen=True, slots=True)
class LintResult:
    """Findings in the target files, sorted, before suppression and selection of rules.

    ``judged`` and ``unjudged`` count applications of deltas in them whose scale is known, and others.
    """

    findings: tuple[Finding, ...]
    failures: tuple[FileFailure, ...]
    checked: int
    judged: int = 0
    unjudged: int = 0


class ResultCache:
    """Results by the names and contents of all files of a run, by the rules and the project's words."""

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
        parts = [code_digest(_program()), digest_of(all_rules())]
        parts.append(json.dumps(None if codes is None else sorted(codes)).encode())
        parts.append(json.dumps(dataclasses.astuple(project.in_force())).encode())
        for path in sorted(sources):
            head = f"{path}\0{modules[path]}\0{path in targets}"
            parts += [head.encode(errors="surrogatepass"), sources[path]]
        return content_key(*parts)

    def read(self, key: str, again: Callable[[], LintResult]) -> LintResult | None:
        """The result of the run if it is kept.

        Edits are not: no cache may bring text into a file. Who asks for one has ``again`` called, which
        makes the result anew.
        """
        data = self._kept.read(key)
        try:
            return None if data is None else _result(json.loads(data), cache(again))
        except (LookupError, TypeError, ValueError, RecursionError):
            return None

    def write(self, key: str, result: LintResult) -> None:
        """Keep a result, unless one of its repairs fails."""
        with contextlib.suppress(Exception):  # whoever looks at that repair says so
            self._kept.write(key, json.dumps(_plain(result), separators=(",", ":")).encode())

    def trim(self) -> None:
        """Forget runs that were not repeated for long."""
        self._kept.trim()


def _program() -> tuple[Path, ...]:
    import lorascale_lint.codemods
    import lorascale_lint.rules

    packages = (lorascale_lint, lorascale_lint.rules, lorascale_lint.codemods)
    return tuple(Path(folder) for package in packages for folder in package.__path__)


def _plain(value: object) -> Any:
    """Dataclasses as dictionaries; edits are left out."""
    match value:
        case Fix():
            return [value.applicability, value.message, value.filenames]
        case tuple():
            return [_plain(item) for item in value]
        case LintResult() | Finding() | FileFailure() | TraceStep() | Span() | Position():
            fields = dataclasses.fields(value)
            return {field.name: _plain(getattr(value, field.name)) for field in fields}
        case _:
            return value


def _result(item: dict[str, Any], again: Callable[[], LintResult]) -> LintResult:
    return LintResult(
        tuple(_finding(found, again) for found in item["findings"]),
        tuple(
            FileFailure(**failure | {"position": Position(**failure["position"])})
            for failure in item["failures"]
        ),
        item["checked"],
        item["judged"],
        item["unjudged"],
    )


def _finding(item: dict[str, Any], again: Callable[[], LintResult]) -> Finding:
    span = _span(item["span"])
    fix = None
    if item["fix"] is not None:
        applicability, message, filenames = item["fix"]
        fix = Fix(applicability, message, partial(_edits, again, item["code"], span), tuple(filenames))
    return Finding(
        **item
        | {
            "span": span,
            "trace": tuple(TraceStep(_span(step["span"]), step["message"]) for step in item["trace"]),
            "fix": fix,
            "suppression_rows": tuple(item["suppression_rows"]),
        }
    )


def _edits(again: Callable[[], LintResult], code: str, span: Span) -> tuple[Edit, ...]:
    same = (found for found in again().findings if (found.code, found.span) == (code, span))
    return next((found.fix.edits for found in same if found.fix is not None), ())


def _span(item: dict[str, Any]) -> Span:
    return Span(item["filename"], Position(**item["start"]), Position(**item["end"]))
