"""Mechanisms in other dress: the same bug under other names and in other shapes, and correct look-alikes.

The first line of a program says which rule reports it where (``# LS222 in line 18``, ``preview`` if it is of
medium confidence), or that it is right (``# silent``).
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lorascale_lint.engine import lint

PROGRAMS = sorted((Path(__file__).parent / "data" / "dresses").glob("*.txt"))
_WRONG = re.compile(r"# (LS\d+) in line (\d+)( preview)?")


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_dress(program: Path, tmp_path: Path) -> None:
    text = program.read_text()
    (tmp_path / "program.py").write_text(text)
    found = [
        (finding.code, finding.span.start.row, finding.confidence)
        for finding in lint([tmp_path / "program.py"], []).findings
    ]
    said = _WRONG.match(text)
    if said is None:
        assert text.startswith("# silent")
        assert found == []
    else:
        assert (said[1], int(said[2]), "medium" if said[3] else "high") in found
