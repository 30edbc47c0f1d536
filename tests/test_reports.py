"""What the reports look like in the corners: wide characters, tabs, long spans, control characters."""

from __future__ import annotations

import io
import json

import pytest

from lorascale_lint.findings import Edit, FileFailure, Finding, Fix, Position, Span, TraceStep
from lorascale_lint.report import concise, json_report, text as text_report
from lorascale_lint.report.content import Report
from lorascale_lint.report.summary import render_fixed, render_summary
from lorascale_lint.report.terminal import Style, printable, shown
from lorascale_lint.sources.text import SourceText

PLAIN = Style()


def nothing(name: str) -> None:
    """Reads no file."""


def span(*place: int, filename: str = "a.py") -> Span:
    row, column, end_row, end_column = place
    return Span(filename, Position(row, column), Position(end_row, end_column))


def finding(*place: int, **more: object) -> Finding:
    return Finding("LS101", "unscaled-merge", "the delta is bare", span(*place), **more)


def excerpt(text: str, *place: int) -> str:
    """The rows that a finding shows of ``text``."""
    source = SourceText.decode(text.encode())
    lines = text_report.render(Report((finding(*place),)), lambda name: source, PLAIN).splitlines()
    return "\n".join(lines[1:-1])


def test_tabs_are_expanded():
    assert excerpt("\tx\t= bad\n", 1, 6, 1, 9) == "1 |     x   = bad\n  |           ^^^"


def test_wide_and_combining_characters():
    assert excerpt("'漢字e\u0301' + bad\n", 1, 10, 1, 13) == "1 | '漢字e\u0301' + bad\n  |           ^^^"
    assert excerpt("'漢字'\n", 1, 2, 1, 4) == "1 | '漢字'\n  |  ^^^^"


def test_context_rows_and_gutter():
    text = "".join(f"row{number}\n" for number in range(1, 12))
    assert excerpt(text, 10, 1, 10, 6) == " 9 | row9\n10 | row10\n   | ^^^^^\n11 | row11"
    assert excerpt("a\n\nb\n\nc\n", 3, 1, 3, 2) == "3 | b\n  | ^"


def test_several_rows():
    assert excerpt("x = f(\n    a,\n)\n", 1, 5, 3, 2) == (
        "1 | x = f(\n  |     ^^\n2 |     a,\n  |     ^^\n3 | )\n  | ^"
    )


def test_a_long_span_leaves_out_the_middle():
    text = "f(\n" + "    a,\n" * 20 + ")\n"
    assert excerpt(text, 1, 1, 22, 2) == (
        " 1 | f(\n   | ^^\n 2 |     a,\n   |     ^^\n 3 |     a,\n   |     ^^\n   ⋮\n"
        "20 |     a,\n   |     ^^\n21 |     a,\n   |     ^^\n22 | )\n   | ^"
    )


def test_an_empty_span_has_one_caret():
    assert excerpt("abc\n", 1, 2, 1, 2) == "1 | abc\n  |  ^"
    assert excerpt("abc\n", 1, 4, 1, 4) == "1 | abc\n  |    ^"


def test_a_span_that_ends_with_the_line_end():
    assert excerpt("abc\ndef\n", 1, 1, 2, 1) == "1 | abc\n  | ^^^\n2 | def"


def test_a_very_long_line_is_cut_around_the_span():
    line = "x = [" + "1, " * 1000 + "bad" + ", 1" * 1000 + "]"
    column = line.index("bad") + 1
    first, carets = excerpt(line + "\n", 1, column, 1, column + 3).splitlines()
    assert len(first) < 200
    assert first.startswith("1 | …")
    assert first.endswith("…")
    assert first[carets.index("^") : carets.rindex("^") + 1] == "bad"


def test_a_place_outside_the_file_does_no_harm():
    assert "^" in excerpt("a\n", 7, 9, 8, 1)


def test_without_the_source():
    text = text_report.render(Report((finding(1, 1, 1, 2),)), lambda name: None, PLAIN)
    assert text == "a.py:1:1 LS101 unscaled-merge: the delta is bare\nfix: none\n"


def test_fix_lines():
    edits = (Edit(span(1, 1, 1, 2), "x"), Edit(span(1, 1, 1, 2, filename="b.py"), "x"))
    fixes = [Fix("safe", "multiply", edits[:1]), Fix("unsafe", "pass alpha", edits)]
    report = Report(tuple(finding(1, 1, 1, 2, fix=fix) for fix in fixes))
    lines = text_report.render(report, lambda name: None, PLAIN).splitlines()
    assert [line for line in lines if line.startswith("fix:")] == [
        "fix: safe, with --fix: multiply",
        "fix: unsafe, with --fix --unsafe-fixes (2 files): pass alpha",
    ]


def test_control_characters_are_escaped():
    assert printable("a\x1b[31m\u202e\u2028\ud800\r\n") == r"a\x1b[31m\u202e\u2028\ud800\r\n"
    assert printable("α × 漢\u0301") == "α × 漢\u0301"
    assert shown("\x1b\tx") == (r"\x1b    x", [0, 4, 8, 9])
    step = TraceStep(span(1, 1, 1, 2), "\x1b[2J")
    bad = Finding("LS101", "n", "\x1b", span(1, 1, 1, 2, filename="\x1b.py"), effect="\x1b", trace=(step,))
    report = Report((bad,), (FileFailure("\x1b", "\x1b"),))
    source = SourceText.decode(b"\x1b\n")
    assert "\x1b" not in text_report.render(report, lambda name: source, PLAIN)
    assert "\x1b" not in concise.render(report, nothing, PLAIN)
    assert "\x1b" not in json_report.render(report, nothing, PLAIN)


def test_colours_are_the_only_difference():
    report = Report((finding(1, 1, 1, 2),), (FileFailure("b.py", "no"),))
    source = SourceText.decode(b"abc\n")
    coloured = text_report.render(report, lambda name: source, Style(True))
    for code in ("1;31", "1", "36", "2", "0"):
        coloured = coloured.replace(f"\x1b[{code}m", "")
    assert coloured == text_report.render(report, lambda name: source, PLAIN)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"TERM": "xterm"}, (True, False)),
        ({"TERM": "dumb"}, (False, False)),
        ({"TERM": "xterm", "NO_COLOR": "1"}, (False, False)),
        ({"TERM": "xterm", "NO_COLOR": ""}, (True, False)),
        ({"FORCE_COLOR": "1"}, (True, True)),
        ({"TERM": "xterm", "FORCE_COLOR": "0"}, (True, False)),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, (False, False)),
    ],
)
def test_when_there_is_colour(monkeypatch, variables, expected):
    for name in ("TERM", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert (Style.of(Terminal()).enabled, Style.of(io.StringIO()).enabled) == expected


def test_json_survives_any_file_name():
    report = Report((), (FileFailure("\udcff漢.py", "no"),))
    text = json_report.render(report, nothing, PLAIN)
    assert text.isascii()
    (item,) = json.loads(text)
    assert item["filename"] == "\udcff漢.py"
    assert (item["code"], item["name"], item["fix"], item["url"]) == ("LS001", "unreadable-file", None, None)


def test_internal_error_has_its_own_code():
    report = Report((), (FileFailure("a.py", "no", code="LS000"),))
    assert concise.render(report, nothing, PLAIN) == "a.py:1:1: LS000 internal-error: no\n"


def test_summary():
    safe, unsafe = (finding(1, 1, 1, 2, fix=Fix(kind, "", ())) for kind in ("safe", "unsafe"))
    other = Finding("LS301", "n", "", span(1, 1, 1, 2, filename="b.py"))
    failure = FileFailure("c.py", "")
    texts = [
        render_summary(Report((), checked=271)),
        render_summary(Report((), (failure, failure), checked=1)),
        render_summary(Report((other,), checked=9)),
        render_summary(Report((safe, safe, unsafe, other), (failure,), checked=9)),
        render_summary(Report((unsafe,), checked=9), remaining=True),
        render_summary(Report((), checked=9), remaining=True),
    ]
    assert texts == [
        "No findings in 271 files.\n",
        "No findings in 1 file; 1 file could not be checked.\n",
        "Found 1 finding in 1 file.\n",
        "Found 4 findings in 2 files (2 fixable with --fix, 1 more with --fix --unsafe-fixes); "
        "1 file could not be checked.\n",
        "Left 1 finding in 1 file (1 fixable with --fix --unsafe-fixes).\n",
        "No findings left in 9 files.\n",
    ]


def test_fixed():
    fixed = {("b.py", "LS101", "m"): 1, ("a.py", "LS201", "n"): 2, ("a.py", "LS101", "m"): 1}
    assert render_fixed(fixed) == (
        "Fixed 4 findings:\n  a.py: 1 × LS101 m, 2 × LS201 n\n  b.py: 1 × LS101 m\n"
    )
    assert render_fixed(fixed, would=True).startswith("Would fix 4 findings:\n")
    assert render_fixed({}) == ""


@pytest.mark.parametrize(
    ("numbers", "line"),
    [
        ((None, None), ""),
        ((1, 0), "1 application judged.\n"),
        ((12, 3), "12 applications judged, 3 not judged (lorascale-lint map shows why).\n"),
    ],
)
def test_the_summary_says_how_much_was_judged(numbers, line):
    report = Report((), checked=2, judged=numbers[0], unjudged=numbers[1])
    assert render_summary(report) == "No findings in 2 files.\n" + line
