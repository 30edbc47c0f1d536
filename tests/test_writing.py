"""No content is lost: full disks, signals, kills, other programs, links and attributes."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from lorascale_lint import cli
from lorascale_lint.fixing import write
from lorascale_lint.fixing.apply import Change
from lorascale_lint.fixing.in_place import stage_undo
from lorascale_lint.fixing.temporary import NEW, UNDO, Temporary
from lorascale_lint.fixing.write import WriteError, clean_up, obstacle, write_group
from tests.fake_engine import FakeEngine

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals, links and attributes")

OLD = b"old = 1\n" * 1000
NEW_CONTENTS = {"longer": b"newer = 2\n" * 1500, "shorter": b"n = 2\n" * 100, "equal": b"new = 2\n" * 1000}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "layer.py"
    path.write_bytes(OLD)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- full disks ---------------------------------------------------------------------------------


class FullDisk:
    """`os.write` with room for so many bytes more, old ones written again included."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        self.room = room
        self.really_write = os.write
        monkeypatch.setattr(os, "write", self.write)

    def write(self, descriptor: int, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = self.really_write(descriptor, bytes(data[: min(self.room, 700)]))
        self.room -= done
        return done


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("kind", list(NEW_CONTENTS))
@pytest.mark.parametrize("room", [0, 1, 4096, 8000, 9000, 16_000, 20_000, 23_500, 24_000, 30_000, 40_000])
def test_a_full_disk_leaves_the_old_content(
    file: Path, monkeypatch: pytest.MonkeyPatch, linked: bool, kind: str, room: int
) -> None:
    new = NEW_CONTENTS[kind]
    if linked:
        os.link(file, file.with_name("twin.py"))
    disk = FullDisk(monkeypatch, room)
    message = ""
    try:
        write_group([Change(file, OLD, new)])
    except WriteError as error:
        message = str(error)
    if "half written" in message:  # not even the old content could be put back
        assert linked
        disk.room = 10**6
        assert clean_up([file.parent]) == (file,)
    assert not message or "No space left on device" in message
    assert file.read_bytes() == (OLD if message else new)
    assert names(file.parent) == (["layer.py", "twin.py"] if linked else ["layer.py"])
    if linked:
        assert file.with_name("twin.py").read_bytes() == file.read_bytes()


@pytest.mark.parametrize("linked", [False, True])
def test_a_repair_that_can_not_be_written_is_not_called_done(
    lint: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, linked: bool
) -> None:
    path = Path("a.py")
    path.write_text("unscaled\n")
    if linked:
        os.link(path, "twin.py")
    with monkeypatch.context() as patch:
        FullDisk(patch, 0)
        code, out, err = lint("--fix", ".")
    assert (code, err) == (2, "error: a.py: not written: No space left on device\n")
    assert "Left" in out
    assert "No findings left" not in out + err
    assert path.read_text() == "unscaled\n"


# --- other programs -----------------------------------------------------------------------------


@pytest.mark.parametrize("linked", [False, True])
def test_an_edit_that_comes_just_before_the_new_content_is_kept(
    file: Path, monkeypatch: pytest.MonkeyPatch, linked: bool
) -> None:
    if linked:
        os.link(file, file.with_name("twin.py"))
    other = file.with_name("other.py")
    other.write_bytes(OLD)
    sync = Temporary.sync

    def edit(temporary: Temporary) -> None:
        sync(temporary)
        file.write_bytes(b"edited = 3\n")

    monkeypatch.setattr(Temporary, "sync", edit)
    with pytest.raises(WriteError, match="has changed meanwhile"):
        write_group([Change(other, OLD, b"new\n"), Change(file, OLD, b"new\n")])
    assert file.read_bytes() == b"edited = 3\n"
    assert other.read_bytes() == OLD
    assert not [name for name in names(file.parent) if name.startswith(".")]


@pytest.mark.skipif(os.name == "nt", reason="no open file is replaced there")
@pytest.mark.parametrize("new_edit", [False, True])
def test_an_edit_by_a_program_that_had_the_file_open_is_brought_back(
    file: Path, monkeypatch: pytest.MonkeyPatch, new_edit: bool
) -> None:
    replace = Temporary.replace
    file.chmod(0o640)

    def edit(temporary: Temporary, target: Path) -> None:
        monkeypatch.setattr(Temporary, "replace", replace)
        with file.open("ab") as editor:
            replace(temporary, target)
            editor.write(b"edited = 3\n")
        if new_edit:
            file.write_bytes(b"edited = 4\n")

    monkeypatch.setattr(Temporary, "replace", edit)
    with pytest.raises(WriteError, match="has changed meanwhile"):
        write_group([Change(file, OLD, b"new\n")])
    assert file.read_bytes() == (b"edited = 4\n" if new_edit else OLD + b"edited = 3\n")
    assert file.stat().st_mode & 0o777 == 0o640
    assert names(file.parent) == ["layer.py"]


def test_what_another_run_has_written_already_is_no_error(file: Path) -> None:
    file.write_bytes(b"new\n")
    write_group([Change(file, OLD, b"new\n")])
    assert file.read_bytes() == b"new\n"


def test_an_edit_between_the_check_and_the_fix_is_kept(
    lint: Callable[..., tuple[int, str, str]], fake_engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Places that were found in one content must not be edited in another."""
    path = Path("a.py")
    path.write_text("first = 1\nunscaled\n")

    def check_and_edit(*args: object, **options: object) -> object:
        result = fake_engine(*args, **options)  # type: ignore[arg-type]
        path.write_text("second = 2\nfirst = 1\nunscaled\n")
        return result

    monkeypatch.setattr("lorascale_lint.engine.lint", check_and_edit)
    code, out, err = lint("--fix", ".")
    assert path.read_text() == "second = 2\nfirst = 1\nunscaled\n"
    assert (code, err) == (2, "error: a.py: not written: it has changed meanwhile\n")
    assert "Left 1 finding" in out


# --- signals and kills --------------------------------------------------------------------------

PROGRAM = """
import os, signal, sys
from pathlib import Path
from lorascale_lint.fixing.apply import Change
from lorascale_lint.fixing import in_place, temporary, write
really, number, after = os.fsync, getattr(signal, sys.argv[2]), int(sys.argv[3])
def fsync(descriptor):
    global after
    really(descriptor)
    after -= 1
    if after == 0:
        os.kill(os.getpid(), number)
os.fsync = fsync
old, new = Path(sys.argv[1]).read_bytes(), b"new\\n"
print("begun", flush=True)
write.write_group([Change(Path(name), old, new) for name in (sys.argv[1], sys.argv[4])])
print("done", flush=True)
"""


def run_to_signal(file: Path, other: Path, name: str, after: int) -> tuple[int, bytes]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(file), name, str(after), str(other)],
        capture_output=True,
        env=environment,
        check=False,
        preexec_fn=partial(signal.signal, signal.SIGHUP, signal.SIG_DFL),  # ignored below `nohup`
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT", "SIGKILL"])
@pytest.mark.parametrize("after", [1, 2, 3])
@pytest.mark.parametrize("linked", [False, True])
def test_a_signal_leaves_whole_files_and_nothing_else(
    file: Path, name: str, after: int, linked: bool
) -> None:
    other = file.with_name("other.py")
    other.write_bytes(OLD)
    if linked:
        os.link(file, file.with_name("twin.py"))
    code, out = run_to_signal(file, other, name, after)
    assert code == -getattr(signal, name)
    assert out == b"begun\n"
    contents = [file.read_bytes(), other.read_bytes()]
    assert all(content in (OLD, b"new\n") for content in contents)
    if name == "SIGKILL":
        clean_up([file.parent])
    else:
        assert len(set(contents)) == 1, "all files of a group or none"
    assert names(file.parent) == sorted(["layer.py", "other.py", *(["twin.py"] if linked else [])])


def test_a_signal_that_is_ignored_stays_ignored(file: Path) -> None:
    script = f"trap '' HUP; exec '{sys.executable}' -c \"$0\" \"$@\""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        ["sh", "-c", script, PROGRAM, str(file), "SIGHUP", "1", str(file)],
        capture_output=True,
        env=environment,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b"begun\ndone\n"), done.stderr


def test_temporary_files_of_a_run_that_goes_on_are_left(tmp_path: Path) -> None:
    alive = Temporary(tmp_path, NEW)
    dead = tmp_path / ".lorascale-lint-abc.new"
    dead.write_bytes(b"half")
    own = tmp_path / "notes.new"
    own.touch()
    assert clean_up([tmp_path, tmp_path / "gone"]) == ()
    assert names(tmp_path) == sorted([alive.path.name, "notes.new"])
    alive.discard()
    assert names(tmp_path) == ["notes.new"]


def leave_undo(file: Path, after: bytes) -> None:
    """What a run leaves that is killed while it changes a file in place."""
    undo = stage_undo(file, OLD, after)
    undo.keep()
    undo.discard()


@given(kind=st.sampled_from(list(NEW_CONTENTS)), cut=st.integers(0, 20_000))
def test_a_change_in_place_that_was_cut_off_is_undone(
    tmp_path_factory: pytest.TempPathFactory, kind: str, cut: int
) -> None:
    file = tmp_path_factory.mktemp("cut") / "layer.py"
    after = NEW_CONTENTS[kind]
    cut = min(cut, len(after)) // 512 * 512
    rest = OLD.ljust(len(after), b"\0") if cut else OLD
    file.write_bytes(after[:cut] + rest[cut:])
    leave_undo(file, after)
    half = file.read_bytes() not in (OLD, after)
    assert clean_up([file.parent]) == ((file,) if half else ())
    assert file.read_bytes() == (OLD if half or not cut else after)
    assert names(file.parent) == ["layer.py"]


@pytest.mark.parametrize("content", [b"edited = 3\n", OLD + b"edited = 3\n", b"#" + OLD, b""])
def test_what_was_written_after_a_kill_is_kept(file: Path, content: bytes) -> None:
    leave_undo(file, NEW_CONTENTS["longer"])
    file.write_bytes(content)
    assert clean_up([file.parent]) == ()
    assert file.read_bytes() == content
    assert names(file.parent) == ["layer.py"]


@pytest.mark.parametrize(
    "note",
    [
        b"", b"{", b"[1]\n", b'{"name": "layer.py", "before": 8000, "after": 4}\nshort',
        b'{"name": "../layer.py", "before": 1, "after": 1}\nab', b"[" * 100_000,
    ],
)  # fmt: skip
def test_a_broken_note_is_removed_and_changes_nothing(file: Path, note: bytes) -> None:
    file.with_name(f".lorascale-lint-x{UNDO}").write_bytes(note)
    assert clean_up([file.parent]) == ()
    assert file.read_bytes() == OLD
    assert names(file.parent) == ["layer.py"]


def test_the_next_run_cleans_up(lint: Callable[..., tuple[int, str, str]]) -> None:
    folder = Path("package")
    folder.mkdir()
    file = folder / "layer.py"
    file.write_text("x = 1\n")
    (folder / ".lorascale-lint-1.new").touch()
    assert lint("--diff", ".")[0] == 0
    assert len(names(folder)) == 2, "a diff writes nothing"
    assert lint("--fix", ".")[0] == 0
    assert names(folder) == ["layer.py"]


def test_clean_does_as_the_next_run(
    lint: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "project" / "package"
    folder.mkdir(parents=True)
    file = folder / "layer.py"
    file.write_bytes(OLD)
    leave_undo(file, NEW_CONTENTS["equal"])
    file.write_bytes(NEW_CONTENTS["equal"][:4096] + OLD[4096:])
    (folder / ".lorascale-lint-1.new").touch()
    code, out, _ = lint("clean", str(tmp_path / "project"))
    assert code == 0
    assert out.endswith("layer.py was half written, and has its old content again.\n")
    assert file.read_bytes() == OLD
    assert names(folder) == ["layer.py"]


# --- links and attributes -----------------------------------------------------------------------


def test_extended_attributes_are_kept(file: Path) -> None:
    try:
        os.setxattr(file, "user.origin", b"kept")
    except (OSError, AttributeError):
        pytest.skip("no extended attributes here")
    inode = file.stat().st_ino
    write_group([Change(file, OLD, b"new\n")])
    assert os.getxattr(file, "user.origin") == b"kept"
    assert file.read_bytes() == b"new\n"
    assert file.stat().st_ino != inode, "replaced, not changed in place"


def test_attributes_that_a_new_file_can_not_have_keep_the_file_in_place(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "_takes_after", lambda *_: False)
    inode = file.stat().st_ino
    write_group([Change(file, OLD, b"new\n")])
    assert (file.read_bytes(), file.stat().st_ino) == (b"new\n", inode)
    assert names(file.parent) == ["layer.py"]


@pytest.fixture
def lint(fake_engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*args: str) -> tuple[int, str, str]:
        code = cli.run(list(args))
        return (code, *capsys.readouterr())

    return run


def test_a_link_does_not_lead_out_of_the_given_folder(lint: Callable[..., tuple[int, str, str]]) -> None:
    outside, folder = Path("outside.py").resolve(), Path("package")
    folder.mkdir()
    outside.write_text("unscaled\n")
    (folder / "inside.py").write_text("unscaled\n")
    (folder / "link.py").symlink_to("../outside.py")
    code, out, err = lint("--fix", "package")
    assert outside.read_text() == "unscaled\n"
    assert (folder / "inside.py").read_text() == "scaled\n"
    assert code == 1
    assert (
        err
        == f"warning: package/link.py is not fixed: it is a link to {outside}, outside of what was given\n"
    )
    assert "Left 1 finding in 1 file" in out
    assert lint("--diff", "package")[1] == "", "a diff shows what --fix would change"


def test_a_link_that_is_given_or_stays_inside_is_followed(
    lint: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    folder = Path("package")
    (folder / "deep").mkdir(parents=True)
    Path("outside.py").write_text("unscaled\n")
    (folder / "link.py").symlink_to("../outside.py")
    assert lint("--fix", "package/link.py")[0] == 0
    assert Path("outside.py").read_text() == "scaled\n"
    Path("other.py").write_text("unscaled\n")
    Path("way").symlink_to("package")
    (folder / "real.py").write_text("unscaled\n")
    assert lint("--fix", "way")[0] == 0
    assert (folder / "real.py").read_text() == "scaled\n"
    assert obstacle(Path("other.py").resolve(), [tmp_path]) is None


def test_two_hard_links_of_one_file_in_one_run(lint: Callable[..., tuple[int, str, str]]) -> None:
    Path("a.py").write_text("unscaled\nunscaled\n")
    os.link("a.py", "b.py")
    code, out, err = lint("--fix", ".")
    assert (code, err) == (0, "")
    assert Path("a.py").read_text() == Path("b.py").read_text() == "scaled\nscaled\n"
    assert Path("a.py").samefile("b.py")
    assert out.endswith("No findings left in 2 files.\n")
