"""How much is known: the 15 kinds of files of `verify --matrix` by every loader of the table."""

from __future__ import annotations

from pathlib import Path

from lorascale_lint.adapters.command import inspect_file
from lorascale_lint.adapters.predictions import Outcome
from lorascale_lint.knowledge.loaders import LOADERS
from lorascale_lint.verify.file_kinds import FILE_KINDS, write_file

_AT_LEAST = 0.9


def test_most_answers_are_known(tmp_path: Path) -> None:
    known = 0
    unknown: dict[str, list[str]] = {}
    for number, (title, style, alpha) in enumerate(FILE_KINDS):
        for said in inspect_file(write_file(tmp_path / str(number), style, alpha)).predictions:
            if said.outcome is Outcome.UNKNOWN:
                unknown.setdefault(said.loader.key, []).append(title)
            else:
                known += 1
                assert said.source, (title, said.loader.key)
    total = len(FILE_KINDS) * len(LOADERS)
    assert known >= _AT_LEAST * total, unknown
    # A loader that was read but for its models' names; whoever fills it shortens this list.
    assert {key for key, titles in unknown.items() if len(titles) > 5} == {"invokeai"}


def test_the_documents_have_the_table() -> None:
    from benchmarks.loader_table import lines

    text = (Path(__file__).parents[2] / "docs" / "adapters.md").read_text()
    assert "\n".join(lines()) in text, "python benchmarks/loader_table.py"
