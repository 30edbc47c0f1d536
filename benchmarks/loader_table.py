"""What is known of loaders, as Markdown: `python benchmarks/loader_table.py`.

Each of the 15 kinds of files of `verify --matrix` by each loader of `lorascale_lint/knowledge/loaders`: the
scale it applies (trained is 0.5, or 1 where the file has no alpha), 0 where it applies nothing, `-` where it
refuses the file, `?` where nobody has read or run it. Two numbers: it depends on the names of the layers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from lorascale_lint.adapters.command import inspect_file
from lorascale_lint.adapters.predictions import Outcome, Prediction
from lorascale_lint.adapters.report import number
from lorascale_lint.knowledge.loaders import LOADERS
from lorascale_lint.verify.file_kinds import FILE_KINDS, write_file


def cell(said: Prediction) -> str:
    """One answer, as short as it can be."""
    if said.outcome is Outcome.REFUSED:
        return "-"
    if said.low is None or said.high is None:
        return "?"
    scale = number(said.low) if said.low == said.high else f"{number(said.low)}/{number(said.high)}"
    return f"**{scale}**" if said.outcome is Outcome.WRONG else scale


def lines() -> Iterator[str]:
    """The table, what its numbers are, and the sources of each loader."""
    columns: list[list[Prediction]] = []
    with tempfile.TemporaryDirectory() as folder:
        for index, (_, style, alpha) in enumerate(FILE_KINDS):
            columns.append(
                list(inspect_file(write_file(Path(folder) / str(index), style, alpha)).predictions)
            )
    yield "| loader | " + " | ".join(str(index + 1) for index in range(len(columns))) + " |"
    yield "|---" * (len(columns) + 1) + "|"
    for row, loader in enumerate(LOADERS):
        yield f"| `{loader.key}` | " + " | ".join(cell(column[row]) for column in columns) + " |"
    yield ""
    for index, (title, _, _) in enumerate(FILE_KINDS, 1):
        yield f"{index}. {title}"
    yield ""
    said = [item for column in columns for item in column]
    known = sum(item.outcome is not Outcome.UNKNOWN for item in said)
    yield f"Known: {known} of {len(said)} ({known / len(said):.0%})."


def sources() -> Iterator[str]:
    """Where each answer was read or measured."""
    for loader in LOADERS:
        cited = dict.fromkeys(case.does.source for case in loader.cases if case.does.source)
        yield f"- `{loader.key}` ({loader.title}): {'; '.join(cited)}"


if __name__ == "__main__":
    print("\n".join([*lines(), "", *sources()]))
