"""An engine whose rules look for words, to test everything around the analysis."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lorascale_lint.findings import (
    Applicability,
    Confidence,
    Edit,
    FileFailure,
    Finding,
    Fix,
    Severity,
    Span,
    TraceStep,
)
from lorascale_lint.results import LintResult
from lorascale_lint.sources.text import SourceText, UndecodableSource


@dataclass(frozen=True, slots=True)
class Word:
    """A rule that reports a word; ``content`` replaces it, in every file if it is to be ``paired``."""

    code: str
    name: str
    content: str | None = None
    applicability: Applicability = "safe"
    paired: bool = False
    confidence: Confidence = "high"
    severity: Severity = "error"
    fix: Literal["sometimes"] = "sometimes"

    def summary(self) -> str:
        return f"Reports {self.name}."

    def page(self) -> str:
        return f"{self.summary()}\n\nThe page of {self.code}."


WORDS = {
    "unscaled": Word("LS101", "unscaled-merge", "scaled"),
    "risky": Word("LS201", "none-guard", "sound", "unsafe"),
    "hopeless": Word("LS301", "dropped-alpha"),
    "together": Word("LS302", "kept-alpha", "apart", paired=True),
    "breaking": Word("LS901", "breaks-code", "("),
    "breaking_pair": Word("LS903", "breaks-pair", "(", paired=True),
    "doubtful": Word("LS904", "may-be-wrong", confidence="medium"),
    "endless": Word("LS902", "never-ends", "endless + 1"),
}


@dataclass(slots=True)
class FakeEngine:
    """Stands for `lorascale_lint.engine.lint`; remembers what it was called with."""

    words: Mapping[str, Word] = field(default_factory=lambda: dict(WORDS))
    calls: list[dict[str, object]] = field(default_factory=list)

    def __call__(
        self,
        targets: Collection[Path],
        context: Collection[Path],
        *,
        codes: Collection[str] | None = None,
        overlay: Mapping[Path, bytes] | None = None,
        cache_dir: Path | None = None,
        progress: Callable[[int, int], None] | None = None,
        workers: object = None,
    ) -> LintResult:
        self.calls.append({"targets": targets, "context": context, "codes": codes, "cache_dir": cache_dir})
        sources: dict[str, SourceText] = {}
        failures = []
        for path in targets:
            try:
                data = (overlay or {}).get(path)
                source = SourceText.decode(path.read_bytes() if data is None else data)
                ast.parse(source.text)
                sources[str(path)] = source
            except (OSError, UndecodableSource, SyntaxError) as error:
                failures.append(FileFailure(str(path), type(error).__name__))
        findings = [
            self._finding(name, word, found, sources)
            for name, source in sources.items()
            for word in self.words
            for found in re.finditer(rf"\b{word}\b", source.text)
            if codes is None or self.words[word].code in codes
        ]
        return LintResult(tuple(findings), tuple(failures), len(sources))

    def _finding(
        self, name: str, word: str, found: re.Match[str], sources: Mapping[str, SourceText]
    ) -> Finding:
        rule = self.words[word]
        here = _span(name, sources[name], found)
        places = [here]
        if rule.paired:
            places = [
                _span(other, source, place)
                for other, source in sources.items()
                for place in re.finditer(rf"\b{word}\b", source.text)
            ]
        fix = None
        if rule.content is not None:
            edits = tuple(Edit(place, rule.content) for place in places)
            fix = Fix(rule.applicability, f"write `{rule.content}`", edits)
        return Finding(
            rule.code,
            rule.name,
            f"`{word}` is here",
            here,
            confidence=rule.confidence,
            effect="2.00× too strong for alpha=64, rank=128",
            trace=(TraceStep(here, "the word is read"),),
            fix=fix,
            suppression_rows=(here.start.row,),
        )


def _span(name: str, source: SourceText, found: re.Match[str]) -> Span:
    return Span(name, source.position(found.start()), source.position(found.end()))
