"""Nothing is read from a cache that somebody else could have filled, and no entry can stop a run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lorascale_lint.cache import ContentCache, UntrustedCache, cache_folder
from lorascale_lint.engine import lint
from lorascale_lint.results import ResultCache
from tests.projects import write_files
from tests.test_isolation import LAYER

pytestmark = pytest.mark.skipif(os.name == "nt", reason="owners and modes")
KEY = "ab" * 32


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "lorascale-lint"


@pytest.fixture
def entry(tmp_path: Path) -> ContentCache:
    cache = ContentCache(tmp_path / "cache")
    cache.write(KEY, b"data")
    assert cache.read(KEY) == b"data"
    return cache


def test_the_folder_is_the_persons_own(home: Path) -> None:
    assert cache_folder() == home
    assert home.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777])
def test_a_folder_that_others_may_write_to_is_refused(home: Path, mode: int) -> None:
    home.mkdir(parents=True)
    home.chmod(mode)
    with pytest.raises(UntrustedCache, match="others may write to it"):
        cache_folder()


def test_a_folder_of_another_user_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir(parents=True)
    monkeypatch.setattr(os, "geteuid", lambda: home.stat().st_uid + 1)
    with pytest.raises(UntrustedCache, match="belongs to another user"):
        cache_folder()


@pytest.mark.parametrize("root", ["", "home", "link"])
def test_a_folder_in_the_project_is_refused(home: Path, tmp_path: Path, root: str) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "link").symlink_to("home")
    with pytest.raises(UntrustedCache, match="lies in the project"):
        cache_folder([tmp_path / root])
    assert cache_folder([tmp_path / "elsewhere"]) == home


def test_a_relative_folder_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    found = cache_folder()
    assert found is None or found.is_absolute()
    assert list(here.iterdir()) == []


def test_an_entry_that_others_may_write_to_is_a_miss(entry: ContentCache) -> None:
    entry.path(KEY).chmod(0o660)
    assert entry.read(KEY) is None


def test_an_entry_of_another_user_is_a_miss(entry: ContentCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: entry.path(KEY).stat().st_uid + 1)
    assert entry.read(KEY) is None


def test_a_link_is_a_miss(entry: ContentCache, tmp_path: Path) -> None:
    entry.path(KEY).rename(tmp_path / "planted")
    entry.path(KEY).symlink_to(tmp_path / "planted")
    assert entry.read(KEY) is None


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "sparse"])
def test_what_is_no_file_is_a_miss_and_nobody_waits(entry: ContentCache, kind: str) -> None:
    path = entry.path(KEY)
    path.unlink()
    match kind:
        case "pipe":
            os.mkfifo(path, 0o600)
        case "device":
            path.symlink_to("/dev/zero")
        case "folder":
            path.mkdir()
        case _:
            with path.open("wb") as file:
                file.truncate(2**40)
            path.chmod(0o600)
    assert entry.read(KEY) is None


def test_deep_entries_are_misses(tmp_path: Path) -> None:
    results = ResultCache(tmp_path)
    ContentCache(tmp_path / "results").write(KEY, b'{"findings":' + b"[" * 100_000)
    assert results.read(KEY, lambda: pytest.fail("made anew")) is None


def test_a_planted_cache_hides_nothing(tmp_path: Path) -> None:
    """A checkout that brings a cache along, where the environment keeps caches in the project."""
    write_files(tmp_path, {"layer.py": LAYER})
    command = [
        sys.executable,
        "-m",
        "lorascale_lint",
        "check",
        "-q",
        "--output-format",
        "concise",
        str(tmp_path),
    ]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / ".cache")}

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=environment, cwd="/", capture_output=True, text=True, check=False, timeout=60
        )

    first = run()
    assert first.returncode == 1
    assert not list((tmp_path / ".cache" / "lorascale-lint").rglob("*.json"))


def test_a_file_name_that_is_not_utf_8(tmp_path: Path) -> None:
    name = os.fsdecode(b"lora_\xff.py")
    try:
        paths = write_files(tmp_path, {name: "lora = 1\n"})
    except OSError:
        pytest.skip("this file system has no such names")
    result = lint(paths, [], cache_dir=tmp_path / "cache")
    assert (result.failures, result.checked) == ((), 1)
    assert lint(paths, [], cache_dir=tmp_path / "cache") == result
