"""An audit as text and as JSON."""

from __future__ import annotations

import json
import math
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lorascale_lint.adapters.report import number, summary
from lorascale_lint.audit.checkpoint import Checkpoint
from lorascale_lint.audit.plan import Given
from lorascale_lint.audit.verdicts import Judgement, Verdict
from lorascale_lint.report.terminal import printable

_MOST_ROWS = 40
_WIDTH = 110
_VERBS = {Verdict.MATCHES: "match", Verdict.ROUNDING_ONLY: "differ by rounding only"}


@dataclass(frozen=True, slots=True)
class Audit:
    """Everything that was found."""

    base: Checkpoint
    merged: Checkpoint
    given: tuple[Given, ...]
    judgements: tuple[Judgement, ...]
    rules: Mapping[str, int]
    notes: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0: the adapter is there as trained; 1: something differs; 3: something could not be judged."""
        verdicts = {item.verdict for item in self.judgements}
        if any(verdict.is_wrong for verdict in verdicts):
            return 1
        if Verdict.NOT_JUDGED in verdicts:
            return 3
        # What leaves no trace is right as far as it can be seen, but alone it proves nothing.
        return 0 if any(item.adapted and item.verdict.is_right for item in self.judgements) else 3

    @property
    def summary(self) -> str:
        """The result in one line."""
        adapted = [item for item in self.judgements if item.adapted]
        others = [item for item in self.judgements if not item.adapted]
        line = f"{_count(len(adapted), 'module')}: {_verdicts(adapted) or 'none'}"
        if others:
            same = sum(item.verdict is Verdict.MATCHES for item in others)
            rest = _verdicts([item for item in others if item.verdict is not Verdict.MATCHES])
            parts = ([f"{same} unchanged"] if same else []) + ([rest] if rest else [])
            line += f"; {_count(len(others), 'other tensor')}: {', '.join(parts)}"
        return line


def _count(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _verdicts(items: Sequence[Judgement]) -> str:
    counts = Counter(item.verdict for item in items)
    order = sorted(counts, key=lambda verdict: (not verdict.is_right, -counts[verdict], verdict))
    return ", ".join(
        f"{counts[verdict]} {_VERBS.get(verdict, verdict.value)}{_strength(items, verdict)}"
        for verdict in order
    )


def _strength(items: Sequence[Judgement], verdict: Verdict) -> str:
    """How strong the error is, where that is one number for all."""
    if not verdict.is_wrong:
        return ""
    found = {item.detail.partition(";")[0] for item in items if item.verdict is verdict}
    (one,) = found if len(found) == 1 else ("",)
    return f" ({one})" if one.endswith("x the trained strength") else ""


def _badness(item: Judgement) -> tuple[int, float]:
    verdict = item.verdict
    group = 0 if verdict.is_wrong else {Verdict.NOT_JUDGED: 1, Verdict.NO_TRACE: 2}.get(verdict, 4)
    if verdict is Verdict.ROUNDING_ONLY:
        group = 3
    off = [
        abs(seen / scale - 1) if math.isfinite(seen) else math.inf
        for seen, scale in zip(item.observed, item.expected, strict=False)
        if scale
    ]
    return group, -max([*off, item.residual or 0.0])


def render_text(audit: Audit) -> str:
    """The audit for people, the worst first."""
    return "".join(f"{printable(line)}\n" for line in _lines(audit))


def _lines(audit: Audit) -> Iterator[str]:
    yield f"audit {audit.merged.path}"
    for title, checkpoint in (("base", audit.base), ("merged", audit.merged)):
        large = checkpoint.size >= 1e9
        size = f"{checkpoint.size / (1e9 if large else 1e6):.3g} {'GB' if large else 'MB'}"
        files = _count(len(checkpoint.files), "file")
        yield f"  {title}: {checkpoint.path} ({_count(len(checkpoint.tensors), 'tensor')}, {size}, {files})"
    for item in audit.given:
        strength = "" if item.strength == 1 else f", strength {number(item.strength)}"
        yield f"  adapter: {item.adapter.source.path} ({summary(item.adapter)}{strength})"
    for rule, count in sorted(audit.rules.items(), key=lambda pair: (-pair[1], pair[0])):
        yield from _wrapped(f"  names: {rule} ({_count(count, 'module')})")
    for note in audit.notes:
        yield from _wrapped(f"  note: {note}")
    rows = sorted((item for item in audit.judgements if _is_shown(item)), key=_badness)
    if rows:
        yield ""
        yield from _table(rows[:_MOST_ROWS])
        if len(rows) > _MOST_ROWS:
            yield f"  and {len(rows) - _MOST_ROWS} more; --output-format json has every module"
        yield ""
    yield f"{audit.summary}"
    yield f"audit {audit.merged.path}: {_conclusion(audit.exit_code)}"


def _is_shown(item: Judgement) -> bool:
    return item.verdict is not Verdict.MATCHES or bool(item.adapted and item.detail)


def _conclusion(code: int) -> str:
    return {0: "matches", 1: "DIFFERS", 3: "could not be judged"}[code]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )


def _table(items: Sequence[Judgement]) -> Iterator[str]:
    cells = [("module", "trained", "observed", "residual", "verdict", "")]
    cells += [
        (
            item.name,
            _scales(item.expected),
            _scales(item.observed),
            _residual(item.residual),
            item.verdict.value,
            item.detail,
        )
        for item in items
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(5)]
    for row in cells:
        numbers = "  ".join(row[column].rjust(widths[column]) for column in (1, 2, 3))
        yield f"  {row[0].ljust(widths[0])}  {numbers}  {row[4].ljust(widths[4])}  {row[5]}".rstrip()


def _residual(value: float | None) -> str:
    """Two figures; float32 can't tell less than the bound from nothing."""
    if value is None:
        return "-"
    return f"{value:.1e}" if value >= 1e-6 or value == 0 else "<1e-06"


def _scales(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.5g}" for value in values) or "-"


def render_json(audit: Audit) -> str:
    """The audit for programs: one object, ending in a newline."""
    found = {
        "base": str(audit.base.path),
        "merged": str(audit.merged.path),
        "adapters": [
            {
                "path": str(item.adapter.source.path),
                "strength": item.strength,
                "convention": item.adapter.convention.name,
                "summary": summary(item.adapter),
            }
            for item in audit.given
        ],
        "names": dict(audit.rules),
        "notes": list(audit.notes),
        "modules": [_as_dict(item) for item in audit.judgements if item.adapted],
        "other_tensors": {
            "unchanged": sum(
                not item.adapted and item.verdict is Verdict.MATCHES for item in audit.judgements
            ),
            "others": [
                _as_dict(item)
                for item in audit.judgements
                if not item.adapted and item.verdict is not Verdict.MATCHES
            ],
        },
        "summary": audit.summary,
        "exit_code": audit.exit_code,
    }
    return json.dumps(found, indent=2, allow_nan=False) + "\n"


def _as_dict(item: Judgement) -> dict[str, Any]:
    return {
        "name": item.name,
        "modules": list(item.modules),
        "tensor": item.tensor or None,
        "rows": None if item.rows is None else list(item.rows),
        "verdict": item.verdict.value,
        "detail": item.detail or None,
        "expected": list(item.expected),
        "observed": [value if math.isfinite(value) else None for value in item.observed],
        "residual": item.residual,
        "rank": item.rank,
        "arithmetic": item.arithmetic or None,
        "elements": item.elements,
        "unequal": item.unequal,
    }
