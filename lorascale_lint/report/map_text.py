"""`lorascale-lint map` as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from lorascale_lint.examination import Sight
from lorascale_lint.report.terminal import printable


def map_text(record: Mapping[str, Any]) -> str:
    """Applications by class and function; under a scale that is not known stand the reasons."""
    lines = map(printable, _lines(record))
    return "\n".join(lines).rstrip("\n") + "\n"


def _lines(record: Mapping[str, Any]) -> Iterator[str]:
    for item in record["implementations"]:
        yield (f"{item['filename']}:{item['row']} {item['class']}")
        for found in item["applications"]:
            yield from _application(found, found["method"])
        yield ""
    for (filename, name), items in groupby(
        record["functions"], key=lambda item: (item["filename"], item["function"])
    ):
        first, *more = items
        yield f"{filename}:{first['row']} {name}"
        for found in (first, *more):
            yield from _application(found, name)
        yield ""
    if not record["implementations"] and not record["functions"]:
        yield "No LoRA implementation found."


def _application(found: Mapping[str, Any], name: str) -> Iterator[str]:
    variant = "" if found["variant"] == "lora" else f"  ({found['variant']})"
    yield (f"  row {found['row']:<5} {found['kind']:<8} {name}: {found['scale']}{variant}")
    for reason in found["reasons"]:
        yield (f"            not known: {reason}")


def row_text(sights: Sequence[Sight]) -> str:
    """What each expression of a row is worth, by the way that led there."""
    if not sights:
        return "Nothing in this row was followed: no code in sight leads here, or none speaks of LoRA.\n"
    lines = []
    for way, found in groupby(sights, key=lambda sight: sight.called_from):
        lines.append(f"called from {' > '.join(way)}" if way else "looked at by itself")
        lines += [f"  {sight.expression}  =  {sight.value}" for sight in found]
    return "".join(f"{printable(line)}\n" for line in lines)
