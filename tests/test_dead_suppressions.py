"""Comments that silence nothing are reported and removed; comments for every finding are added."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorascale_lint import cli
from lorascale_lint.adoption.ignores import add_ignores
from lorascale_lint.findings import Finding, Position, Span
from lorascale_lint.sources.text import SourceText
from lorascale_lint.suppress import Suppressions

pytestmark = pytest.mark.usefixtures("fake_engine")


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = cli.run(list(args))
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize(
    ("before", "code", "after"),
    [
        ("x  # lorascale: ignore[LS101] folded\n", "LS002", "x\n"),
        ("x  # why  # lorascale: ignore[LS101]\n", "LS002", "x  # why\n"),
        ("x  # lorascale: ignore[LS101] folded  # type: ignore\n", "LS002", "x  # type: ignore\n"),
        ("x\n    # lorascale: ignore[LS101]\ny\n", "LS002", "x\ny\n"),
        ("unscaled  # lorascale: ignore[LS101, LS201]\n", "LS002", "unscaled  # lorascale: ignore[LS101]\n"),
        ("unscaled  # lorascale: ignore[LS201, LS101]\n", "LS002", "unscaled  # lorascale: ignore[LS101]\n"),
        ("x  # lorascale: ignore[LS101,none-guard] a\n", "LS002", "x\n"),
        ("unscaled  # noqa: LS101, LS201, E501\n", "LS002", "unscaled  # noqa: LS101, E501\n"),
        ("x  # noqa: LS101\n", "LS002", "x\n"),
        ("# lorascale: file-ignore[LS101]\nx\n", "LS002", "x\n"),
        ("# lorascale: disable[LS101]\nx\n# lorascale: enable[LS101]\ny\n", "LS002", "x\ny\n"),
        (
            "# lorascale: disable[LS101,LS201]\nrisky\n# lorascale: enable[LS201, LS101]\n",
            "LS002",
            "# lorascale: disable[LS201]\nrisky\n# lorascale: enable[LS201]\n",
        ),
        ("x\n# lorascale: enable[LS101]\n", "LS002", "x\n"),
        ("unscaled  # lorascale: ignore[LS101, LS999]\n", "LS003", "unscaled  # lorascale: ignore[LS101]\n"),
        ("x  # lorascale: ignore[none-gaurd]\n", "LS003", "x\n"),
        ("x  # lorascale: ignore\n", "LS003", "x\n"),
        ("x  # lorascale: ingore[LS101]\n", "LS003", "x\n"),
        ("x  # lorascale: disable\n", "LS003", "x\n"),
        ("x  # lorascale: ignore[LS101]", "LS002", "x"),
    ],
)
def test_a_dead_comment_is_reported_and_removed(capsys, before, code, after):
    Path("a.py").write_text(before)
    result, out, _ = run(capsys, "--output-format=concise", "-q")
    assert result == 1
    assert {line.split()[1] for line in out.splitlines()} == {code}
    assert run(capsys, "--fix", "-q")[0] == 0
    assert Path("a.py").read_text() == after


@pytest.mark.parametrize(
    "text",
    [
        "unscaled  # lorascale: ignore[LS101] folded\n",
        "unscaled  # lorascale: ignore[unscaled-merge]\n",
        "# lorascale: ignore[LS101]\nunscaled\n",
        "# lorascale: file-ignore[LS101]\nunscaled\n",
        "# lorascale: disable[LS101]\nunscaled\n# lorascale: enable[LS101]\n",
        "doubtful  # lorascale: ignore[LS904] seen with --preview only\n",
        "x  # noqa\n",
        "x  # noqa: E501\n",
        "x  # noqa: XYZ123\n",
        "# lorascale: skip-file\nx  # lorascale: ignore[LS101]\n",
    ],
)
def test_a_comment_in_use_stays(capsys, text):
    Path("a.py").write_text(text)
    assert run(capsys, "--fix") == (0, "No findings left in 1 file.\n", "")
    assert Path("a.py").read_text() == text


def test_nothing_is_said_of_a_rule_that_did_not_run(capsys):
    Path("a.py").write_text("x  # lorascale: ignore[LS101]\n")
    assert run(capsys, "-q", "--ignore", "LS101") == (0, "", "")
    assert run(capsys, "-q", "--select", "LS2,LS002") == (0, "", "")
    assert run(capsys, "-q", "--ignore", "unused-suppression") == (0, "", "")


def test_nothing_is_said_of_a_file_that_cannot_be_parsed(capsys):
    Path("a.py").write_text("x  # lorascale: ignore[LS101]\ndef\n")
    code, out, _ = run(capsys, "-q", "--output-format=concise")
    assert code == 2
    assert "LS002" not in out


def test_the_message_names_the_nearest_rule(capsys):
    Path("a.py").write_text("x  # lorascale: ignore[none-gaurd]\n")
    assert run(capsys, "-q")[1].splitlines() == [
        "a.py:1:24 LS003 unknown-suppression: no rule is called 'none-gaurd'; did you mean 'none-guard'?",
        "1 | x  # lorascale: ignore[none-gaurd]",
        "  |                        ^^^^^^^^^^",
        "fix: safe, with --fix: Remove it",
    ]


def test_add_ignore(capsys):
    Path("a.py").write_text(
        "unscaled + hopeless\r\nrisky  # lorascale: ignore[LS201] known\r\nx = '''\r\nunscaled'''\r\n"
    )
    Path("b.py").write_text("x\n")
    before = Path("b.py").stat().st_mtime_ns
    assert run(capsys, "--add-ignore=to be looked at", ".") == (
        0,
        "Silenced 3 findings by comments in 1 file.\nNo findings left in 2 files.\n",
        "",
    )
    assert Path("a.py").read_bytes() == (
        b"unscaled + hopeless  # lorascale: ignore[unscaled-merge, dropped-alpha] to be looked at\r\n"
        b"risky  # lorascale: ignore[LS201] known\r\n"
        b"x = '''\r\nunscaled'''  # lorascale: ignore[unscaled-merge] to be looked at\r\n"
    )
    assert Path("b.py").stat().st_mtime_ns == before
    assert run(capsys) == (0, "No findings in 2 files.\n", "")


def test_add_ignore_without_a_reason_leaves_the_path_alone(capsys):
    Path("a.py").write_text("unscaled\n")
    Path("b.py").write_text("unscaled\n")
    assert run(capsys, "--add-ignore", "a.py")[0] == 0
    assert Path("a.py").read_text() == "unscaled  # lorascale: ignore[unscaled-merge]\n"
    assert Path("b.py").read_text() == "unscaled\n"


def test_add_ignore_does_not_silence_what_is_wrong_with_comments(capsys):
    Path("a.py").write_text("unscaled  # lorascale: ignore[LS999]\n")
    code, out, _ = run(capsys, "--add-ignore", "--output-format=concise")
    assert code == 1
    assert "LS003" in out
    assert Path("a.py").read_text() == "unscaled  # lorascale: ignore[LS999, unscaled-merge]\n"


@pytest.mark.parametrize("args", [("--fix",), ("--diff",), ("-",)])
def test_add_ignore_misused(capsys, args):
    code, out, err = run(capsys, "--add-ignore", *args)
    assert (code, out) == (2, "")
    assert "--add-ignore goes with files" in err


@pytest.mark.parametrize(
    ("text", "rows", "expected"),
    [
        (
            "x = a + \\\n    b\n",
            (1, 2),
            "x = a + \\\n    b  # lorascale: ignore[unscaled-merge] why\n",
        ),
        (
            "if y:\n    f('''\n''',\n'''\n''')\n",
            (2,),
            "if y:\n    # lorascale: ignore[unscaled-merge] why\n    f('''\n''',\n'''\n''')\n",
        ),
        ("f(\n    a,\n)\n", (1, 2, 3), "f(  # lorascale: ignore[unscaled-merge] why\n    a,\n)\n"),
        ("x", (1,), "x  # lorascale: ignore[unscaled-merge] why"),
    ],
)
def test_where_a_comment_goes(text, rows, expected):
    first = Position(rows[0], 1)
    found = Finding("LS101", "unscaled-merge", "", Span("a.py", first, first), suppression_rows=rows)
    after = add_ignores(SourceText.decode(text.encode()), [found], "why").decode()
    assert after == expected
    moved = tuple(row + after.count("\n") - text.count("\n") for row in rows)
    span = Span("a.py", Position(moved[0], 1), Position(moved[0], 1))
    assert Suppressions.read(after).silences(
        Finding("LS101", "unscaled-merge", "", span, suppression_rows=moved)
    )
