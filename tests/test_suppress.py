"""Comments that silence findings."""

from __future__ import annotations

import pytest

from lorascale_lint.findings import Finding, Position, Span
from lorascale_lint.suppress import Suppressions, may_name_rules


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


def test_a_comment_alone_on_its_row_speaks_of_the_statement_below():
    text = "# lorascale: ignore[LS101]\n# another\n\nf(\n)\ng()\n"
    assert Suppressions.read(text).silences(finding(4, (4, 5)))
    assert not Suppressions.read(text).silences(finding(6))
    assert not Suppressions.read("x  # lorascale: ignore[LS101]\nf()\n").silences(finding(2))


BLOCK = """\
def f():
    a
    # lorascale: disable[LS101] folded at load
    b
    if c:
        d
    # lorascale: enable[LS101]
    e
    # lorascale: disable[LS101]
    if g:

        h
# at the margin

def i():
    # lorascale: disable[LS201]
    # lorascale: disable[unscaled-merge, LS201]
    j
    # lorascale: enable[LS201]
    k
"""


def test_a_block_ends_at_its_enable_or_with_the_code_around_it():
    found = Suppressions.read(BLOCK)
    silenced = [row for row in range(1, 21) if found.silences(finding(row))]
    assert silenced == [3, 4, 5, 6, 9, 10, 11, 12, 13, 14, 17, 18, 19, 20]


def test_the_whole_file():
    found = Suppressions.read("a\nb  # lorascale: file-ignore[LS101] generated\n")
    assert found.silences(finding(1))
    assert not Suppressions.read("# lorascale: file-ignore[LS201]\n").silences(finding())


@pytest.mark.parametrize("text", ["def (\n", "'''\n", "  x\n y\n", "x = $\n", "\x00"])
def test_what_does_not_tokenize_is_survived(text):
    found = Suppressions.read("# lorascale: skip-file\n" + text)
    assert found.skip_file


@pytest.mark.parametrize(
    ("comment", "can"),
    [
        ("# noqa", False),
        ("# noqa: F401, E501", False),
        ("# noqa: F401, LS101", True),
        ("# NoQA:ls101", True),
        ("# lorascale: disable", True),
    ],
)
def test_only_comments_that_can_name_a_rule_are_looked_for(comment: str, can: bool) -> None:
    assert may_name_rules(f"x = 1  {comment}\n", {"LS101": ""}) is can
    assert may_name_rules(f"x = 1  {comment}\n") is can
