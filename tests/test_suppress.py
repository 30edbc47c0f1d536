"""Comments that silence findings."""

from __future__ import annotations

import pytest

from lorascale_lint.findings import Finding, Position, Span
from lorascale_lint.suppress import Suppressions


def finding(row: int = 1, rows: tuple[int, ...] = ()) -> Finding:
    span = Span("a.py", Position(row, 1), Position(row, 2))
    return Finding("LS101", "unscaled-merge", "", span, suppression_rows=rows)


@pytest.mark.parametrize(
    ("comment", "silenced"),
    [
        ("# lorascale: ignore[LS101] folded at load", True),
        ("# lorascale: ignore[ls101]", True),
        ("# lorascale:ignore [ LS201 , unscaled-merge ]", True),
        ("# type: ignore  # lorascale: ignore[LS101]", True),
        ("# lorascale: ignore[LS201]", False),
        ("# lorascale: ignore[LS1]", False),
        ("# lorascale: ignore", False),
        ("# lorascale: ignore[]", False),
        ("# noqa", True),
        ("# NoQA", True),
        ("# noqa because it is folded", True),
        ("# noqa: LS101", True),
        ("# noqa:E501,LS101", True),
        ("# noqa: E501 LS101", True),
        ("# noqa: ls101 folded", True),
        ("# noqa: E501", False),
        ("# noqa: see the paper", False),
        ("# no qa", False),
    ],
)
def test_comments(comment, silenced):
    assert Suppressions.read(f"x = 1  {comment}\n").silences(finding()) is silenced


def test_strings_are_not_comments():
    for text in ('"# lorascale: ignore[LS101]"\n', '"""\n# noqa\n# lorascale: skip-file"""\n'):
        found = Suppressions.read(text)
        assert not found.silences(finding(1))
        assert not found.silences(finding(2))


def test_any_row_of_the_statement_counts():
    text = "f(\n    a,  # lorascale: ignore[LS101]\n)\n"
    assert Suppressions.read(text).silences(finding(1, (1, 2, 3)))
    assert not Suppressions.read(text).silences(finding(1, (1, 3)))
    assert Suppressions.read(text).silences(finding(2))


def test_skip_file_anywhere():
    assert Suppressions.read("x = 1\n# lorascale: skip-file\n").silences(finding())


def test_a_bare_ignore_and_unknown_rules_are_remembered():
    found = Suppressions.read("x  # lorascale: ignore\ny  # lorascale: ignore[LS999]\n")
    assert found.bare_rows == [1]
    assert found.named == [(2, "LS999")]


@pytest.mark.parametrize("text", ["def (\n", "'''\n", "  x\n y\n", "x = $\n", "\x00"])
def test_what_does_not_tokenize_is_survived(text):
    found = Suppressions.read("# lorascale: skip-file\n" + text)
    assert found.skip_file
