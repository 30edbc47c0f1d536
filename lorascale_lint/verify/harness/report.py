"""The rows of a harness for a person: what is wrong first, and last what was not run and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from lorascale_lint.verify.harness.agreement import Agreement
from lorascale_lint.verify.harness.properties import Property
from lorascale_lint.verify.verdicts import Row, Verdict

_WITHOUT_ANSWER = (Verdict.NOT_RUN, Verdict.NOT_MEASURED)


def shown_rows(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Without what was not offered; of an application that could not be run the first row says why."""
    kept = []
    not_run: set[str] = set()
    for row in rows:
        if row.verdict is Verdict.UNSUPPORTED or row.group in not_run:
            continue
        if row.verdict in _WITHOUT_ANSWER and row.scenario.endswith(f": {Property.SCALE.value}"):
            not_run.add(row.group)
        kept.append(row)
    return tuple(kept)


def harness_table(rows: Sequence[Row]) -> Iterator[str]:
    """One block for each application that was run, then the others with their reasons."""
    by_place: dict[str, list[Row]] = {}
    for row in rows:
        by_place.setdefault(row.group, []).append(row)
    run = {place: found for place, found in by_place.items() if found[0].verdict not in _WITHOUT_ANSWER}
    # What differs comes first.
    for place in sorted(run, key=lambda place: not any(row.is_failure for row in run[place])):
        yield place
        for row in run[place]:
            yield f"  {_line(place, row)}".rstrip()
    others = [found[0] for place, found in by_place.items() if place not in run]
    if others:
        yield f"Not run ({len(others)} of {len(by_place)}):"
        yield from (f"  {row.group}: {row.detail}" for row in others)
    yield _summary(by_place, run)


def _line(place: str, row: Row) -> str:
    question = row.scenario.removeprefix(f"{place}: ")
    numbers = _number(row.observed)
    if row.verdict.is_failure and row.expected == row.expected:
        numbers = f"{numbers} instead of {_number(row.expected)}"
    return f"{question:<42}{row.verdict.value:<24}{numbers:<24}{row.detail}"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return "0" if abs(value) < 1e-7 else f"{value:.5g}"


def _summary(by_place: dict[str, list[Row]], run: dict[str, list[Row]]) -> str:
    details = [found[0].detail for found in run.values()]
    counts = Counter(
        next((item for item in Agreement if f"; {item.value}" in text), None) for text in details
    )
    parts = ", ".join(f"{item.value}: {counts[item]}" for item in Agreement if counts[item])
    return f"{len(run)} of {len(by_place)} applications were run" + (f"; {parts}" if parts else "")
