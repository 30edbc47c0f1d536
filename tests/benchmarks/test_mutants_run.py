"""Planted errors get the verdict of their kind when they are run."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

import mutants_run
from mutants import AUTHORED


def test_changes_of_a_right_program_are_told_by_their_kind(tmp_path: Path) -> None:
    found = list(mutants_run.outcomes(AUTHORED / "linear_inline.py", 6, tmp_path))
    assert {mutant.operator for mutant, _ in found} >= {"scale dropped", "ratio inverted"}
    assert {fate for _, fate in found} == {mutants_run.KIND}
