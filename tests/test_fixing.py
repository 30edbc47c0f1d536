"""Fixes in memory, as a diff, and on disk."""

from __future__ import annotations

import ast
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from lorascale_lint import cli
from lorascale_lint.findings import Edit, Finding, Fix, Position, Span
from lorascale_lint.fixing import write
from lorascale_lint.fixing.apply import MAX_ROUNDS, Change, Outcome, apply_fixes
from lorascale_lint.fixing.diff import unified_diff
from lorascale_lint.fixing.write import WriteError, obstacle, write_group
from lorascale_lint.report.content import Report
from lorascale_lint.sources.text import SourceText
from tests.examples import examples
from tests.fake_engine import FakeEngine

A = Path("a.py")
B = Path("b.py")

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX file modes and links")


def fix_words(
    files: Mapping[Path, bytes], *, unsafe: bool = False, given: set[Path] | None = None
) -> Outcome:
    """Apply the fixes of the fake engine to files that exist in memory only."""
    engine = FakeEngine()

    def check(overlay: Mapping[Path, bytes]) -> Report:
        result = engine(files, (), overlay={**files, **overlay})
        return Report(result.findings, result.failures, (), result.checked)

    editable = {path: data for path, data in files.items() if given is None or path in given}
    return apply_fixes(check, editable, unsafe=unsafe)


def after(outcome: Outcome) -> dict[str, bytes]:
    return {str(change.path): change.after for group in outcome.groups for change in group}


def edit_once(data: bytes, *fixes: Fix) -> Outcome:
    """Apply fixes that are offered for the original content only."""

    def check(overlay: Mapping[Path, bytes]) -> Report:
        if overlay.get(A, data) != data:
            return Report(())
        place = Span("a.py", Position(1, 1), Position(1, 1))
        return Report(tuple(Finding("LS101", "n", str(i), place, fix=fix) for i, fix in enumerate(fixes)))

    return apply_fixes(check, {A: data}, unsafe=False)


def one_row(*edits: tuple[int, int, str]) -> Fix:
    """A safe fix of the first row of a.py, from 0-based columns."""
    return Fix(
        "safe",
        "",
        tuple(
            Edit(Span("a.py", Position(1, start + 1), Position(1, end + 1)), content)
            for start, end, content in edits
        ),
    )


# --- rounds -------------------------------------------------------------------------------------


def test_safe_and_unsafe():
    files = {A: b"unscaled\nrisky\n"}
    assert after(fix_words(files)) == {"a.py": b"scaled\nrisky\n"}
    outcome = fix_words(files, unsafe=True)
    assert after(outcome) == {"a.py": b"scaled\nsound\n"}
    assert outcome.fixed == {("a.py", "LS101", "unscaled-merge"): 1, ("a.py", "LS201", "none-guard"): 1}
    assert outcome.report.findings == ()


def test_nothing_to_fix():
    outcome = fix_words({A: b"hopeless\n"})
    assert (outcome.groups, outcome.fixed, len(outcome.report.findings)) == ((), {}, 1)


def test_a_fix_of_two_files_counts_for_each_finding_and_makes_one_group():
    outcome = fix_words({A: b"together\n", B: b"together\n", Path("c.py"): b"unscaled\n"})
    assert [[str(change.path) for change in group] for group in outcome.groups] == [
        ["a.py", "b.py"],
        ["c.py"],
    ]
    assert after(outcome) == {"a.py": b"apart\n", "b.py": b"apart\n", "c.py": b"scaled\n"}
    assert outcome.fixed[("a.py", "LS302", "kept-alpha")] == 1
    assert outcome.fixed[("b.py", "LS302", "kept-alpha")] == 1


def test_a_fix_that_reaches_a_file_not_given_is_held_back():
    outcome = fix_words({A: b"together\nunscaled\n", B: b"together\n"}, given={A})
    assert after(outcome) == {"a.py": b"together\nscaled\n"}
    assert (
        "a.py:1: LS302 kept-alpha is not fixed: that also changes b.py, which was not given" in outcome.notes
    )


def test_a_file_that_would_break_is_left_alone_and_the_others_are_fixed():
    outcome = fix_words({A: b"unscaled\nbreaking\n", B: b"unscaled\n"})
    assert after(outcome) == {"b.py": b"scaled\n"}
    assert outcome.fixed == {("b.py", "LS101", "unscaled-merge"): 1}
    (failure,) = outcome.report.failures
    assert (failure.filename, failure.code) == ("a.py", "LS000")
    assert "please report this" in failure.message
    assert len(outcome.report.findings) == 2


def test_files_tied_to_a_broken_one_are_taken_back_and_fixed_again_without_it():
    outcome = fix_words({A: b"together\nbreaking\n", B: b"together\nunscaled\n"})
    assert after(outcome) == {"b.py": b"together\nscaled\n"}
    assert list(outcome.fixed) == [("b.py", "LS101", "unscaled-merge")]


def test_a_fix_that_breaks_two_files_changes_neither():
    outcome = fix_words({A: b"breaking_pair\n", B: b"breaking_pair\n"})
    assert after(outcome) == {}
    assert [failure.filename for failure in outcome.report.failures] == ["a.py", "b.py"]


def test_a_repair_that_leaves_its_finding_is_taken_back_alone():
    outcome = fix_words({A: b"endless\nunscaled\n", B: b"unscaled\n"})
    assert after(outcome) == {"a.py": b"endless\nscaled\n", "b.py": b"scaled\n"}
    (left,) = outcome.report.findings
    assert (left.name, left.fix) == ("never-ends", None)
    assert outcome.notes == ("a.py:1: LS902 never-ends is not fixed: its repair does not end it",)


def test_fixes_without_end_are_taken_back():
    def check(overlay: Mapping[Path, bytes]) -> Report:
        length = len(overlay.get(A, b""))
        place = Span("a.py", Position(1, 1), Position(1, 1))
        return Report((Finding("LS101", "n", f"{length} long", place, fix=one_row((0, 0, "x"))),))

    outcome = apply_fixes(check, {A: b"\n"}, unsafe=False)
    assert after(outcome) == {}
    (failure,) = outcome.report.failures
    assert f"after {MAX_ROUNDS} rounds" in failure.message


def test_overlapping_fixes_wait_for_the_next_round():
    outcome = edit_once(b"abcdef\n", one_row((0, 3, "X")), one_row((2, 4, "Y")), one_row((4, 6, "Z")))
    assert after(outcome) == {"a.py": b"XdZ\n"}


def test_insertions_at_one_place_wait_for_each_other_unless_equal():
    assert after(edit_once(b"a\n", one_row((1, 1, "+1")), one_row((1, 1, "+2")))) == {"a.py": b"a+1\n"}
    assert after(edit_once(b"a\n", one_row((1, 1, "+1")), one_row((1, 1, "+1")))) == {"a.py": b"a+1\n"}


def test_fixes_that_share_an_edit_are_both_applied():
    outcome = edit_once(
        b"abcdef\n", one_row((0, 1, "X"), (3, 4, "Y")), one_row((0, 1, "X"), (5, 6, "Z"), (1, 1, "+"))
    )
    assert after(outcome) == {"a.py": b"X+bcYeZ\n"}
    assert outcome.fixed == {("a.py", "LS101", "n"): 2}


def test_a_fix_is_applied_whole_or_not_at_all():
    outcome = edit_once(b"abcdef\n", one_row((0, 1, "X")), one_row((0, 1, "W"), (5, 6, "Z")))
    assert after(outcome) == {"a.py": b"Xbcdef\n"}


@pytest.mark.parametrize(
    "fix",
    [one_row((0, 99, "x")), one_row((0, 3, "x"), (1, 2, "y")), one_row((0, 1, "a")), one_row((3, 1, "x"))],
)
def test_an_unusable_fix_is_an_internal_error(fix):
    outcome = edit_once(b"abcdef\n", fix, one_row((5, 6, "g")))
    assert after(outcome) == {"a.py": b"abcdeg\n"}
    (failure,) = outcome.report.failures
    assert failure.code == "LS000"
    assert "unusable fix" in failure.message


def test_a_character_that_the_encoding_lacks():
    outcome = edit_once(b"# coding: latin-1\nx\n", one_row((17, 17, "\u03b1")))
    assert after(outcome) == {}
    assert "its encoding can't hold the repaired text" in outcome.report.failures[0].message


def test_a_file_that_libcst_does_not_reproduce_is_not_fixed():
    outcome = fix_words({A: b"x = 1\n\x0cunscaled\n", B: b"unscaled\n"})
    assert after(outcome) == {"b.py": b"scaled\n"}
    assert outcome.notes == ("a.py is not fixed: it is not reproduced byte for byte by LibCST",)
    assert outcome.report.failures == ()
    assert len(outcome.report.findings) == 1


# --- bytes --------------------------------------------------------------------------------------

_TEXT = st.text(st.sampled_from("ab é漢\t"), max_size=8)
_ENDS = st.sampled_from(["\n", "\r\n"])
_ENCODINGS = st.sampled_from(["utf-8", "utf-8-sig", "# coding: latin-1", "# -*- coding: cp1252 -*-"])


@st.composite
def sources(draw: st.DrawFn) -> tuple[bytes, str, str]:
    """A Python file of comments: its bytes, its text, its line end."""
    encoding, end = draw(_ENCODINGS), draw(_ENDS)
    rows = ["# " + row for row in draw(st.lists(_TEXT, min_size=1, max_size=6))]
    if encoding.startswith("#"):
        rows.insert(0, encoding)
        encoding = encoding.split()[-1 if encoding.endswith("1") else -2]
    text = end.join(rows) + draw(st.sampled_from(["", end]))
    if encoding not in ("utf-8", "utf-8-sig"):
        text = text.replace("漢", "z")
    return text.encode(encoding), text, end


@st.composite
def edited(draw: st.DrawFn) -> tuple[bytes, str, str, list[tuple[int, int, str]]]:
    """A source, and separate edits that keep it a file of comments."""
    data, text, end = draw(sources())
    skip = len(text.split(end)[0]) if "coding" in text.split(end)[0] else 0
    places = sorted(draw(st.lists(st.integers(skip, len(text)), max_size=6, unique=True)))
    edits = []
    for start, stop in zip(places[::2], places[1::2], strict=False):
        if "\r" in text[start : stop + 1] or "\n" in text[start:stop] or "#" in text[start:stop]:
            continue
        if text[start - 1 : start] == "\r" or start == 0 or text[start - 1] in "\r\n":
            continue
        edits.append((start, stop, draw(st.sampled_from(["", "x", "é", "new\n# row", "a\r\n# b"]))))
    return data, text, end, edits


@given(edited())
@settings(max_examples=examples(400))
def test_only_the_edited_places_change(case):
    data, text, _, edits = case
    source = SourceText.decode(data)
    assert source.text == text
    assert source.encode(text) == data
    expected, last = "", 0
    for start, stop, content in edits:
        expected += text[last:start] + content.replace("\r\n", "\n").replace("\n", source.newline)
        last = stop
    expected += text[last:]
    fix = Fix(
        "safe",
        "",
        tuple(
            Edit(Span("a.py", source.position(start), source.position(stop)), content)
            for start, stop, content in edits
        ),
    )
    outcome = edit_once(data, fix) if expected != text else edit_once(data)
    assert after(outcome).get("a.py", data) == source.encode(expected)
    assert outcome.report.failures == ()


@given(sources())
def test_places_and_offsets_agree(case):
    source = SourceText.decode(case[0])
    inside_line_end = {i + 1 for i in range(len(source.text)) if source.text[i : i + 2] == "\r\n"}
    for offset in set(range(len(source.text) + 1)) - inside_line_end:
        assert source.offset(source.position(offset)) == offset
    assert [source.row(i + 1) for i in range(source.rows)] == source.text.replace("\r\n", "\n").split("\n")


_WORDS = st.sampled_from(["unscaled", "risky", "hopeless", "together", "fine", "breaking", "f(unscaled)"])


@given(st.lists(st.lists(_WORDS, min_size=1, max_size=5), min_size=1, max_size=3), st.booleans(), _ENDS)
@settings(max_examples=examples(150))
def test_fixing_twice_changes_nothing_and_everything_parses(files, unsafe, end):
    before = {Path(f"{number}.py"): (" ; ".join(words) + end).encode() for number, words in enumerate(files)}
    first = fix_words(before, unsafe=unsafe)
    fixed = {path: after(first).get(str(path), data) for path, data in before.items()}
    for path, data in fixed.items():
        ast.parse(data)
        assert data.endswith(end.encode())
        if b"breaking" in before[path]:
            assert data == before[path]
    assert after(fix_words(fixed, unsafe=unsafe)) == {}
    remaining = [item for item in first.report.findings if item.fix and item.fix.applicability == "safe"]
    assert bool(remaining) <= any(b"breaking" in data for data in before.values())


# --- diffs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.py", "sub/a b.py", "sub/ä.py", 'q"uote\\.py', "tab\there.py"])
@pytest.mark.parametrize(
    ("before", "new"),
    [
        (b"x\nunscaled\ny\n", b"x\nscaled\ny\n"),
        (b"x\nunscaled", b"x\nscaled"),
        (b"unscaled\r\ny\r\n", b"scaled\r\ny\r\n"),
        (b"\xef\xbb\xbfunscaled\n", b"\xef\xbb\xbfscaled\n"),
        (b"# coding: latin-1\n# \xe9\nunscaled # \xe9\n", b"# coding: latin-1\n# \xe9\nscaled # \xe9\n"),
        (b"x\ry\r\nunscaled\n", b"x\ry\r\nscaled\n"),
        (b"a\n" * 30 + b"unscaled\n" + b"b\n" * 30, b"a\n" * 30 + b"scaled\n" + b"b\n" * 30),
    ],
)
@posix
def test_git_applies_the_diff(tmp_path, monkeypatch, name, before, new):
    monkeypatch.chdir(tmp_path)
    path = Path(name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(before)
    other = Path("other.py")
    other.write_bytes(before)
    diff = unified_diff([Change(path, before, new), Change(other, before, new)])
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run(["git", "-c", "core.autocrlf=false", "apply", "-"], input=diff, check=True)
    assert path.read_bytes() == other.read_bytes() == new


def test_no_diff():
    assert unified_diff([]) == b""


# --- writing ------------------------------------------------------------------------------------


def change(path: Path, new: bytes = b"new\n") -> Change:
    return Change(path, path.read_bytes(), new)


@pytest.fixture
def old(tmp_path):
    path = tmp_path / "old.py"
    path.write_bytes(b"old\n")
    return path


def test_write(old):
    write_group([change(old)])
    assert old.read_bytes() == b"new\n"
    assert [path.name for path in old.parent.iterdir()] == ["old.py"]


@posix
@pytest.mark.parametrize("mode", [0o600, 0o644, 0o755, 0o664])
def test_the_mode_is_kept(old, mode):
    old.chmod(mode)
    write_group([change(old)])
    assert stat.S_IMODE(old.stat().st_mode) == mode


@posix
def test_a_link_stays_a_link(old, tmp_path):
    link = tmp_path / "link.py"
    link.symlink_to("old.py")
    write_group([change(link)])
    assert link.is_symlink()
    assert old.read_bytes() == b"new\n"


@posix
def test_hard_links_stay_linked(old, tmp_path):
    twin = tmp_path / "twin.py"
    os.link(old, twin)
    write_group([change(old, b"n\n")])
    assert twin.read_bytes() == b"n\n"
    assert old.stat().st_ino == twin.stat().st_ino


def test_a_file_that_has_changed_meanwhile_is_not_written(old):
    stale = change(old)
    old.write_bytes(b"mine\n")
    with pytest.raises(WriteError, match="has changed meanwhile"):
        write_group([stale])
    assert old.read_bytes() == b"mine\n"


@pytest.mark.parametrize("failing", [1, 2])
def test_a_group_is_written_whole_or_not_at_all(old, tmp_path, monkeypatch, failing):
    other = tmp_path / "other.py"
    other.write_bytes(b"other\n")
    stage, calls = write._stage, []

    def full_disk(*args: object) -> object:
        calls.append(args)
        if len(calls) == failing:
            raise OSError(28, "No space left on device")
        return stage(*args)

    monkeypatch.setattr(write, "_stage", full_disk)
    with pytest.raises(WriteError, match="No space left on device"):
        write_group([change(old), change(other)])
    assert old.read_bytes() == b"old\n"
    assert other.read_bytes() == b"other\n"
    assert len(list(tmp_path.iterdir())) == 2


def test_an_interrupt_leaves_no_temporary_file(old, monkeypatch):
    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_group([change(old)])
    assert old.read_bytes() == b"old\n"
    assert [path.name for path in old.parent.iterdir()] == ["old.py"]


@posix
def test_kill_leaves_the_old_or_the_new_content(tmp_path):
    path = tmp_path / "a.py"
    contents = [b"# old\n" * 200_000, b"# new\n" * 200_000]
    path.write_bytes(contents[0])
    program = (
        "import sys; from pathlib import Path; from lorascale_lint.fixing.apply import Change\n"
        "from lorascale_lint.fixing.write import write_group\n"
        "path = Path(sys.argv[1]); old, new = b'# old\\n' * 200_000, b'# new\\n' * 200_000\n"
        "print('ready', flush=True)\n"
        "if path.read_bytes() == new: old, new = new, old\n"
        "while True: write_group([Change(path, old, new)]); old, new = new, old\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    for delay in (0.0, 0.003, 0.01, 0.02, 0.05):
        child = subprocess.Popen(
            [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, env=environment
        )
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(delay)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        assert path.read_bytes() in contents


@posix
def test_obstacles(old, tmp_path):
    assert obstacle(old) is None
    old.chmod(0o444)
    assert obstacle(old) == "is read-only"
    assert obstacle(tmp_path / "gone.py") == "can't be written: No such file or directory"


# --- through the command line -------------------------------------------------------------------


@pytest.fixture
def lint(fake_engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*args: str) -> tuple[int, str, str]:
        code = cli.run(list(args))
        return (code, *capsys.readouterr())

    return run


@posix
def test_a_read_only_file_is_one_message_and_the_run_goes_on(lint):
    A.write_text("unscaled\nunscaled\n")
    A.chmod(0o444)
    B.write_text("unscaled\n")
    code, out, err = lint("--fix", "--output-format=concise", ".")
    assert (code, err) == (1, "warning: a.py is not fixed: it is read-only\n")
    assert out.startswith("Fixed 1 finding:\n  b.py: 1 × LS101 unscaled-merge\na.py:1:1: LS101")
    assert (A.read_text(), B.read_text()) == ("unscaled\nunscaled\n", "scaled\n")


def test_a_write_that_fails_is_exit_2_and_is_not_counted_as_fixed(lint, monkeypatch):
    A.write_text("unscaled\n")
    B.write_text("unscaled\n")

    def full_disk(change: Change) -> object:
        if change.path.name == "a.py":
            raise OSError(28, "No space left on device")
        return stage(change)

    stage = write._stage
    monkeypatch.setattr(write, "_stage", full_disk)
    code, out, err = lint("--fix", ".")
    assert (code, err) == (2, "error: a.py: not written: No space left on device\n")
    assert out.startswith("Fixed 1 finding:\n  b.py")
    assert out.endswith("Left 1 finding in 1 file (1 fixable with --fix).\n")
    assert (A.read_text(), B.read_text()) == ("unscaled\n", "scaled\n")


def test_a_fix_that_breaks_the_file_is_exit_2_and_writes_nothing(lint):
    A.write_text("breaking\n")
    code, out, err = lint("--fix", "--output-format=concise", ".")
    assert code == 2
    assert "a.py:1:1: LS000 internal-error: fixing this file breaks it (SyntaxError: " in out
    assert err.startswith("error: a.py:1:1 LS000 internal-error: ")
    assert A.read_text() == "breaking\n"


@given(data=st.binary(max_size=60).map(lambda noise: noise + b"\nunscaled\n"))
@settings(max_examples=examples(80), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_end_in_a_plain_exit_code(lint, data):
    A.write_bytes(data)
    code, _, err = lint("--fix", ".")
    assert code in (0, 1, 2)
    assert "Traceback" not in err
    if code == 2:
        assert A.read_bytes() == data
