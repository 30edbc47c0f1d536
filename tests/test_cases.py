"""Small programs of our own after bugs of the field: each is reported in its line, its twin is silent.

The first line of ``cases/NAME.py`` says what is right: ``# LS123 in line 9: why`` or ``# silent: why``.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lorascale_lint.engine import lint

CASES = sorted((Path(__file__).parent / "cases").glob("*.py"))
_SAID = re.compile(r"# (LS\d{3}) in line (\d+): .+|# silent: .+")


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path, tmp_path: Path) -> None:
    text = path.read_text()
    said = _SAID.fullmatch(text.partition("\n")[0])
    assert said is not None
    copy = tmp_path / "lora_case.py"  # outside a folder of tests
    copy.write_text(text)
    found = {(finding.code, finding.span.start.row) for finding in lint([copy], []).findings}
    assert found == ({(said[1], int(said[2]))} if said[1] else set())


def test_each_bug_has_a_twin() -> None:
    names = {path.stem for path in CASES}
    assert names
    assert all(f"{name}_ok" in names for name in names if not name.endswith("_ok"))
