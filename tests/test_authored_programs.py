"""Programs of ``tests/authored``: found where they are wrong, and silent once mended."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorascale_lint.engine import lint
from lorascale_lint.findings import Finding
from tests.authored import (
    call_sites,
    chosen_ranks,
    contracts,
    kept_alphas,
    keys,
    kinds_of_numbers,
    saved_and_loaded,
    second_round,
    travelling_roles,
)
from tests.authored.program import Program

MODULES = (
    contracts,
    kept_alphas,
    travelling_roles,
    keys,
    chosen_ranks,
    kinds_of_numbers,
    saved_and_loaded,
    call_sites,
    second_round,
)
PROGRAMS = [program for module in MODULES for program in module.PROGRAMS]


def found_in(folder: Path, files: dict[str, str]) -> tuple[Finding, ...]:
    """What is found in a project of these files."""
    for name, text in files.items():
        (folder / name).write_text(text)
    return tuple(lint([folder / name for name in files], []).findings)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_a_program_is_found_where_it_is_wrong(program: Program, tmp_path: Path) -> None:
    findings = [f for f in found_in(tmp_path, program.files()) if f.code == program.code]
    places = {
        (Path(span.filename).name, span.start.row)
        for finding in findings
        if finding.confidence == program.confidence
        for span in (finding.span, *(step.span for step in finding.trace))
    }
    assert places & program.wrong()


@pytest.mark.parametrize("program", [one for one in PROGRAMS if one.mends], ids=lambda program: program.name)
def test_nothing_is_found_once_it_is_mended(program: Program, tmp_path: Path) -> None:
    assert [f.code for f in found_in(tmp_path, program.files(mended=True))] == []
