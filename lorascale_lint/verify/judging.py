"""What the scales that were observed in some layers say about one adapter."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from lorascale_lint.verify.answers import joined
from lorascale_lint.verify.reference import (
    TOLERANCES,
    Hypothesis,
    Rows,
    describe_parts,
    explanations,
    judge,
    relative_error,
    wrong_scales,
)
from lorascale_lint.verify.steps import Measure, Scenario, Term
from lorascale_lint.verify.verdicts import Row, Verdict


@dataclass(frozen=True, slots=True)
class Reading:
    """One layer's fitted scales by adapter name."""

    layer: str
    shape: tuple[int, int]
    scales: Mapping[str, float]
    residual: float
    index: int = 0
    parts: tuple[Rows, ...] = ()
    stored: Callable[[Sequence[float]], float | None] | None = None


def judge_term(scenario: Scenario, measure: Measure, term: Term, readings: list[Reading], note: str) -> Row:
    """The row of a term: of all layers, the one that is worst off."""
    row = scenario.blank_row(measure, term)
    tolerance = TOLERANCES[row.dtype]
    stale = [(old.alpha, old.rank) for old in map(scenario.adapter, term.stale) if old.alpha is not None]
    whole = scenario.adapter(term.adapter)
    judged: list[tuple[bool, float, Row, list[Verdict], tuple[Rows, ...]]] = []
    for reading in readings:
        adapter = whole.at_layer(reading.index)
        expected = adapter.scale * term.strength if whole.per_layer else term.scale
        known = (
            wrong_scales(adapter.alpha, adapter.rank, term.strength, stale, rslora=adapter.rslora)
            if expected != 0
            else ()
        )
        observed = reading.scales[term.adapter]
        verdict = _by_stored_sums(reading, expected, known) or judge(
            observed, expected, reading.residual, tolerance, hypotheses=known, leftover=term.leftover
        )
        if verdict is Verdict.WRONG_DIRECTION and reading.parts:
            verdict = Verdict.MIXED_SCALE
        error = relative_error(observed, expected)
        answer = replace(
            row,
            expected=expected,
            observed=observed,
            relative_error=error,
            residual=reading.residual,
            alpha=adapter.alpha,
            rank=adapter.rank,
            layer=reading.layer,
            shape=reading.shape,
            verdict=verdict,
        )
        distance = math.inf if math.isnan(error) else error
        mistakes = explanations(observed, tolerance, known)
        judged.append((verdict is not Verdict.OK, distance, answer, mistakes, reading.parts))
    wrong = sum(1 for bad, *_ in judged if bad)
    *_, worst, mistakes, parts_of_worst = max(judged, key=lambda item: item[:2])
    parts = [note]
    if len(readings) > wrong > 0:
        parts.append(f"{wrong} of {len(readings)} layers, worst {worst.layer}")
    said = describe_parts(parts_of_worst) if worst.verdict is Verdict.MIXED_SCALE else ""
    if all(reading.stored is None for reading in readings):
        parts.append(said or _explanation(worst, mistakes))
    return replace(worst, detail=joined(*parts, row.detail))


def _by_stored_sums(reading: Reading, expected: float, known: Sequence[Hypothesis]) -> Verdict | None:
    """What a delta that is too small to be fitted says; None for one that is not."""
    if reading.stored is None:
        return None
    nearest = reading.stored([expected, *(item.scale for item in known)])
    if nearest is None:
        return Verdict.WRONG_SCALE
    names = [item.verdict for item in known if item.scale == nearest]
    return Verdict.OK if nearest == expected else names[0]


def _explanation(row: Row, mistakes: list[Verdict]) -> str:
    """What a number means, in words; "" for a right one."""
    if row.verdict is Verdict.ERROR:
        return "the result is not finite"
    if row.verdict is Verdict.WRONG_DIRECTION:
        return f"beside it a change of {row.residual:.3g} that is not the adapter's"
    if not row.verdict.is_failure or row.observed is None or row.expected == 0:
        return ""
    strength = "" if abs(row.observed) < 1e-6 else f"{row.observed / row.expected:.3g}x the trained strength"
    others = " or ".join(mistake.value for mistake in mistakes if mistake is not row.verdict)
    return joined(strength, f"{others} would give the same number" if others else "")
