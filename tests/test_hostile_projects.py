"""Files, settings and surroundings that try to end a run, to hold it up, or to make it say what is not so."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lorascale_lint import cli
from lorascale_lint.audit.mapping import read_rules
from lorascale_lint.bounds import FOLDER_DEPTH, SETTINGS_BYTES
from lorascale_lint.config import ConfigError, Configs, glob_matches, read_config
from lorascale_lint.engine import lint as lint_paths
from lorascale_lint.errors import InputError
from lorascale_lint.sources.discovery import discover
from tests.test_isolation import LAYER

POSIX = pytest.mark.skipif(os.name == "nt", reason="pipes, devices and closed streams")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with a project in it, where one file has a finding."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").touch()
    (project / "layer.py").write_text(LAYER)
    monkeypatch.chdir(project)
    return project


def lint(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    code = cli.run([*args, "-q", "--output-format", "concise"])
    out, err = capsys.readouterr()
    return code, out, err


FOUND = "layer.py:10:9: LS101"


# ---- files ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "codec",
    "rot13 hex base64 zlib bz2 uu quopri idna punycode undefined unicode_escape utf-7 utf-16 klingon".split(),
)
def test_a_cookie_of_any_codec_costs_its_file_alone(here: Path, capsys, codec: str) -> None:
    (here / "bad.py").write_bytes(f"# -*- coding: {codec} -*-\nlora = 1\n".encode())
    code, out, err = lint(capsys, ".")
    assert FOUND in out
    if codec in ("unicode_escape", "utf-7"):
        assert (code, err) == (1, "")
    else:
        assert (code, "bad.py:1:1 LS001" in err) == (2, True)


def test_quadratic_codecs_are_not_tried() -> None:
    start = time.monotonic()
    for codec in ("punycode", "idna"):
        source = f"# coding: {codec}\n# ".encode() + b"lora-" * 400_000
        path = Path("a.py")
        assert lint_paths([path], [], overlay={path: source}).failures
    assert time.monotonic() - start < 5


@POSIX
def test_a_file_name_that_is_not_utf_8(here: Path, capsys) -> None:
    try:
        Path(os.fsdecode(b"lora_\xff.py")).write_text(LAYER)
    except OSError:
        pytest.skip("this file system has no such names")
    first = lint(capsys, ".")
    assert first[0] == 1
    assert first[2] == ""
    assert len(first[1].splitlines()) == 2
    assert lint(capsys, ".") == first


# ---- settings -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "[tool.lorascale-lint]\nslect = []\n",
        "[tool.lorascale-lint\n",
        "[tool.lorascale-lint]\nx = " + "[" * 100_000,
        "[tool.lorascale-lint]\nx = " + "9" * 5_000,
        "[tool.lorascale-lint]\nx = " + "{a = " * 100_000,
        "[tool.lorascale-lint" + ".a" * 100_000 + "]\n",
        "[tool.lorascale-lint]\n" + "x." * 100_000 + "x = 1\n",
        "[tool.lorascale-lint]\n#" + " " * SETTINGS_BYTES,
    ],
    ids=["key", "syntax", "arrays", "digits", "tables", "name", "dotted key", "size"],
)
def test_broken_settings_below_cost_their_folder_alone(here: Path, capsys, text: str) -> None:
    below = here / "vendored"
    below.mkdir()
    (below / "pyproject.toml").write_text(text)
    (below / "other.py").write_text(LAYER)
    start = time.monotonic()
    code, out, err = lint(capsys, ".")
    assert time.monotonic() - start < 20
    assert code == 2
    assert FOUND in out
    assert "vendored/other.py:10:9" in out
    assert err.startswith("error: vendored/pyproject.toml:1:1 LS001")
    assert err.count("\n") == 1
    # Given by itself, there is nothing that could be checked without them.
    assert lint(capsys, "vendored")[0] == 2
    assert lint(capsys, "layer.py")[0] == 1


def test_what_is_broken_elsewhere_in_a_file_does_not_matter(here: Path, capsys) -> None:
    (here / "pyproject.toml").write_text("{{ cookiecutter.project }}\n")
    assert lint(capsys, ".")[0] == 1


@POSIX
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_settings_that_are_no_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "pyproject.toml"
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case _:
            path.mkdir()
    with pytest.raises(ConfigError, match=r"not a regular file|Is a directory"):
        read_config(path)


@pytest.mark.parametrize(
    ("glob", "name", "expected"),
    [
        ("*a" * 40, "a" * 200 + "b", False),
        ("*a" * 40, "a" * 200, True),
        ("**/*a" * 40 + "*b", "a/" * 200 + "a", False),
        ("*" * 3_000, "a" * 255, True),
        ("[z-a]", "a", False),
        ("[z-a]", "[z-a]", False),
        ("[]", "[]", True),
        ("!a", "a", False),
        ("#a", "#a", True),
        ("\\", "\\", True),
        ("src/**.py", "src/a/b.py", True),
        ("src/**.py", "src/b.py", True),
        ("", "a", False),
        ("/", "a", False),
    ],
)
def test_no_glob_can_hold_a_run_up_or_end_it(glob: str, name: str, expected: bool) -> None:
    start = time.monotonic()
    assert glob_matches(glob, name) is expected
    assert time.monotonic() - start < 5


# ---- folders --------------------------------------------------------------------------------


def test_a_folder_that_can_not_be_read_costs_itself_alone(
    here: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = here / "locked"
    locked.mkdir()
    (locked / "other.py").write_text(LAYER)
    scandir, open_ = os.scandir, os.open

    def refuse(path: object) -> None:
        if Path(str(path)).is_relative_to(locked):
            raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", lambda path: (refuse(path), scandir(path))[1])
    monkeypatch.setattr(os, "open", lambda path, *rest: (refuse(path), open_(path, *rest))[1])
    code, out, err = lint(capsys, ".")
    assert code == 2
    assert FOUND in out
    assert err == "error: locked:1:1 LS001 unreadable-file: cannot read the folder: Permission denied\n"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_settings_in_a_folder_that_can_be_listed_only(here: Path, capsys) -> None:
    (here / "listed").mkdir()
    (here / "listed" / "other.py").write_text(LAYER)
    (here / "listed").chmod(0o600)
    try:
        code, out, _ = lint(capsys, ".")
    finally:
        (here / "listed").chmod(0o755)
    assert code == 2
    assert FOUND in out


def test_folders_without_end(here: Path) -> None:
    folder = here
    for _ in range(FOLDER_DEPTH + 5):
        folder /= "d"
    folder.mkdir(parents=True)
    (folder / "a.py").write_text(LAYER)
    sources = discover([here], Configs())
    assert [path.name for path in sources.targets] == ["layer.py"]
    (failure,) = sources.failures
    assert failure.message == "cannot read the folder: more than 200 folders within one another"


@POSIX
def test_a_link_to_a_name_that_is_too_long(here: Path) -> None:
    (here / "link.py").symlink_to("x" * 4_000)
    assert [path.name for path in discover([here], Configs()).targets] == ["layer.py"]


@pytest.mark.parametrize("path", ["x" * 5_000, "a/" * 2_500 + "b.py", "layer.py/b.py"])
def test_paths_that_can_not_be(here: Path, capsys, path: str) -> None:
    code, out, err = lint(capsys, path)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1


@POSIX
def test_two_hard_links_of_one_file_are_repaired_once(here: Path, capsys) -> None:
    os.link("layer.py", "twin.py")
    assert cli.run(["--fix", "--unsafe-fixes", "."]) in (0, 1)
    capsys.readouterr()
    assert Path("twin.py").read_text() == Path("layer.py").read_text() != LAYER
    assert Path("twin.py").samefile("layer.py")


# ---- streams --------------------------------------------------------------------------------


def shell(line: str) -> tuple[int, str, str]:
    done = subprocess.run(
        ["sh", "-c", line.replace("lorascale-lint", f"{sys.executable} -m lorascale_lint")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


STREAMS = {
    "lorascale-lint -q . >&-": (1, ""),
    "lorascale-lint -q . <&- >/dev/null": (1, ""),
    "lorascale-lint -q . <&- >&- 2>&-": (1, ""),
    "lorascale-lint -q - <&-": (2, "error: -: standard input is closed\n"),
    "lorascale-lint -q . >/dev/full": (
        2,
        "error: cannot write to standard output: No space left on device\n",
    ),
    "lorascale-lint --help >/dev/full": (2, "error: cannot write: No space left on device\n"),
    "lorascale-lint rule >/dev/full": (
        2,
        "error: cannot write to standard output: No space left on device\n",
    ),
    "lorascale-lint nowhere 2>/dev/full": (2, ""),
    "lorascale-lint --nonsense 2>/dev/full": (2, ""),
    "lorascale-lint map nowhere 2>/dev/full": (2, ""),
    "mkdir gone; cd gone; rmdir ../gone; lorascale-lint .": (
        2,
        "error: the working directory does not exist any more\n",
    ),
}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device")
@pytest.mark.parametrize("line", STREAMS)
def test_streams_and_folders_that_are_not_there(here: Path, line: str) -> None:
    code, _, err = shell(line)
    assert (code, err) == STREAMS[line]


# ---- escapes --------------------------------------------------------------------------------

EVIL = "\x1b]0;owned\x07\r\u202e"


@POSIX
@pytest.mark.parametrize("command", ["map", "check"])
def test_file_names_are_escaped(here: Path, capsys, command: str) -> None:
    folder = here / f"a{EVIL}\nb"
    folder.mkdir()
    (folder / f"lora{EVIL}.py").write_text(LAYER)
    (folder / f"bad{EVIL}.py").write_text("lora = = 1\n")
    assert cli.run([command, "."]) == 2
    out, err = capsys.readouterr()
    assert "\\x1b]0;owned\\x07\\r\\u202e\\nb/lora" in out
    assert not set(EVIL) - set("]0;owned") & set(out + err)


def test_errors_are_escaped(here: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(EVIL)

    assert cli.run([f"nowhere{EVIL}"]) == 2
    assert cli.run([f"--{EVIL}"]) == 2
    monkeypatch.setattr("lorascale_lint.sources.discovery.discover", fail)
    assert cli.run(["map"]) == 2
    _, err = capsys.readouterr()
    assert "internal error" in err
    assert not set(EVIL) - set("]0;owned") & set(err)


@POSIX
@pytest.mark.parametrize("kind", ["device", "pipe"])
def test_a_map_of_names_that_is_no_file(here: Path, kind: str) -> None:
    path = here / "map.toml"
    path.symlink_to("/dev/zero") if kind == "device" else os.mkfifo(path)
    with pytest.raises(InputError, match=r"map\.toml: not a regular file"):
        read_rules(path)
