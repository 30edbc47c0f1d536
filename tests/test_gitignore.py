"""What git ignores is left out, as git itself says."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from lorascale_lint.config import Configs, Overrides
from lorascale_lint.sources.discovery import discover

PATTERNS = r"""
# a comment
*.tmp.py
/top.py
build_*/
!build_kept/
docs/gen
a/**/deep.py
**/any.py
sp\ ace.py
trailing.py
\#hash.py
\!bang.py
[ab]x.py
[^a-y]z.py
q?.py
dir/*.py
!dir/kept.py
back\slash.py
**
!*
!*/
""".replace("trailing.py", "trailing.py  ")
FILES = """
a.tmp.py x/a.tmp.py top.py x/top.py build_1/a.py build_kept/a.py x/build_2/a.py build_file.py docs/gen/a.py
x/docs/gen/a.py a/deep.py a/b/c/deep.py x/a/deep.py any.py x/y/any.py #hash.py !bang.py ax.py bx.py cx.py
zz.py az.py q1.py q12.py dir/lost.py dir/kept.py dir/sub/kept.py trailing.py backslash.py plain.py x/plain.py
""".split()


def git(*args: str) -> str:
    return subprocess.run(["git", *args], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    return tmp_path


def write(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("x\n")


def found(*paths: str, **overrides: bool) -> set[str]:
    configs = Configs(Overrides(**overrides))
    return {path.as_posix() for path in discover(map(Path, paths or (".",)), configs).targets}


def kept_by_git() -> set[str]:
    listed = git("ls-files", "-z", "--others", "--exclude-standard").split("\0")
    return {name for name in listed if name.endswith(".py")}


@pytest.mark.parametrize("last", [0, 3], ids=["all", "without the last three"])
def test_as_git(here, last):
    git("init", "-q")
    write(*FILES, "sp ace.py")
    lines = PATTERNS.splitlines()
    Path(".gitignore").write_text("\n".join(lines[: len(lines) - last]))
    write("x/inner/ax.py", "x/inner/own.py")
    Path("x/.gitignore").write_text("!ax.py\nown.py\n")
    Path(".git/info/exclude").write_text("plain.py\n")
    assert found() == kept_by_git()


def test_a_file_that_is_named_is_linted(here):
    git("init", "-q")
    write("gen.py", "out/a.py")
    Path(".gitignore").write_text("gen.py\nout/\n")
    assert found() == set()
    assert found("gen.py", "out") == {"gen.py", "out/a.py"}


def test_turned_off(here):
    write("gen.py")
    Path(".gitignore").write_text("gen.py\n")
    assert found() == set()
    assert found(respect_gitignore=False) == {"gen.py"}
    Path("lorascale-lint.toml").write_text("respect-gitignore = false\n")
    assert found() == {"gen.py"}


def test_outside_of_a_repository_the_folders_above_do_not_count(here):
    Path(".gitignore").write_text("*\n")
    write("project/a.py")
    assert found("project") == {"project/a.py"}


def test_below_the_root_of_a_repository_the_folders_above_count(here, monkeypatch):
    git("init", "-q")
    Path(".gitignore").write_text("/pkg/gen.py\n")
    write("pkg/gen.py", "pkg/a.py")
    assert found("pkg") == {"pkg/a.py"}


def test_a_hostile_pattern_takes_no_time(here):
    write(f"{'a' * 200}b.py", f"x/{'a' * 100}/y.py")
    Path(".gitignore").write_text("*a" * 60 + "\n" + "**/a*" * 40 + "\n" + "[" * 500 + "\n" + "\\\n")
    started = time.process_time()
    found()
    assert time.process_time() - started < 5


@pytest.mark.parametrize("content", [b"\xff\xfe\n", b"\x00\n", b"[z-a].py\n", b"[]\n", b"!\n", b"/\n"])
def test_odd_patterns(here, content):
    git("init", "-q")
    write("a.py")
    Path(".gitignore").write_bytes(content)
    assert found() == kept_by_git() == {"a.py"}
