"""Which files are linted, and which are read for linking."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lorascale_lint.config import Configs
from lorascale_lint.sources.discovery import MissingPath, Sources, discover, discover_text


@pytest.fixture
def here(tmp_path, monkeypatch):
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def files(*names: str) -> None:
    for name in names:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(*paths: str) -> Sources:
    return discover(map(Path, paths), Configs())


def names(paths: tuple[Path, ...]) -> list[str]:
    return [path.as_posix() for path in paths]


def test_a_folder(here):
    files("b.py", "a/z.py", "a/a.py", "a/data.json", "a/b.pyc")
    assert names(found(".").targets) == ["a/a.py", "a/z.py", "b.py"]
    assert names(found("./a", "a/a.py", "b.py", "a/../b.py").targets) == ["a/a.py", "a/z.py", "b.py"]


def test_paths_outside_the_working_directory_are_absolute(here, tmp_path):
    files("../other/a.py", "b.py")
    assert names(found("../other").targets) == [(tmp_path / "other/a.py").as_posix()]
    assert names(found(str(here / "b.py")).targets) == ["b.py"]


def test_a_given_file_need_not_end_in_py(here):
    files("script")
    assert names(found("script").targets) == ["script"]
    assert names(found(".").targets) == []


def test_skipped_folders(here):
    files(".venv/lib/a.py", "build/lib/a.py", "x/__pycache__/a.py", "x/node_modules/a.py", "x/a.py")
    assert names(found(".").targets) == ["x/a.py"]
    assert names(found("build").targets) == ["build/lib/a.py"]
    assert names(found(".venv/lib/a.py").targets) == [".venv/lib/a.py"]


def test_a_checkout_inside_a_folder_named_build(tmp_path, monkeypatch):
    project = tmp_path / "build" / "project"
    (project / ".git").mkdir(parents=True)
    monkeypatch.chdir(project)
    files("a.py", "b.py")
    sources = found("a.py")
    assert names(sources.targets) == ["a.py"]
    assert names(sources.context) == ["b.py"]


def test_missing_path(here):
    with pytest.raises(MissingPath, match=r"nowhere: no such file or folder"):
        found("nowhere")


def test_empty_folders_are_named(here):
    Path("empty").mkdir()
    files("a.py")
    sources = found("empty", "a.py")
    assert names(sources.targets) == ["a.py"]
    assert sources.empty == (Path("empty"),)


@pytest.mark.parametrize("marker", ["pyproject.toml", "setup.py", "setup.cfg", ".git"])
def test_context_is_the_project(here, marker):
    files("p/src/pkg/a.py", "p/src/pkg/b.py", "p/tool.py", "outside.py", f"p/{marker}")
    sources = found("p/src/pkg/a.py")
    assert names(sources.targets) == ["p/src/pkg/a.py"]
    expected = ["p/src/pkg/b.py", "p/tool.py"]
    assert [name for name in names(sources.context) if name != "p/setup.py"] == expected


def test_context_without_a_project_is_the_topmost_package(here):
    files("x/pkg/__init__.py", "x/pkg/sub/__init__.py", "x/pkg/sub/a.py", "x/loose.py")
    assert names(found("x/pkg/sub/a.py").context) == ["x/pkg/__init__.py", "x/pkg/sub/__init__.py"]
    assert names(found("x/loose.py").context) == []


def test_a_folder_without_init_belongs_to_the_package_around_it(here):
    files("x/pkg/__init__.py", "x/pkg/layers/lora/a.py", "x/pkg/loader.py", "x/loose.py")
    assert names(found("x/pkg/layers/lora/a.py").context) == ["x/pkg/__init__.py", "x/pkg/loader.py"]


def test_a_package_in_a_virtual_environment_is_its_own_project(here):
    files(
        "pyproject.toml", "mine.py", ".venv/site-packages/peft/__init__.py", ".venv/site-packages/peft/a.py"
    )
    sources = found(".venv/site-packages/peft/a.py")
    assert names(sources.context) == [".venv/site-packages/peft/__init__.py"]


def test_exclude_holds_for_given_files_and_for_context(here):
    files("a.py", "gen/b.py", "c_pb2.py", "d.py")
    Path("pyproject.toml").write_text('[tool.lorascale-lint]\nexclude = ["gen", "*_pb2.py"]\n')
    assert names(found(".").targets) == ["a.py", "d.py"]
    sources = found("a.py", "gen/b.py", "c_pb2.py")
    assert names(sources.targets) == ["a.py"]
    assert names(sources.context) == ["d.py"]


def test_text_that_is_not_on_disk(here):
    files("pkg/__init__.py", "pkg/a.py")
    sources = discover_text(Path("pkg/new.py"), Configs())
    assert (names(sources.targets), names(sources.context)) == (
        ["pkg/new.py"],
        ["pkg/__init__.py", "pkg/a.py"],
    )
    assert names(discover_text(Path("pkg/a.py"), Configs()).context) == ["pkg/__init__.py"]


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege")
def test_links(here):
    files("a/x.py")
    Path("a/loop").symlink_to(Path("..").resolve(), target_is_directory=True)
    Path("a/again.py").symlink_to("x.py")
    Path("a/broken.py").symlink_to("nowhere.py")
    Path("b").symlink_to("a", target_is_directory=True)
    assert names(found(".").targets) == ["a/x.py"]
    assert names(found("a/again.py").targets) == ["a/again.py"]
    assert names(found("b").targets) == ["b/x.py"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_pipe_is_a_failure_and_does_not_hang(here):
    os.mkfifo("pipe.py")
    assert [failure.message for failure in found("pipe.py").failures] == ["not a regular file"]
    assert found(".") == Sources((), (), (), (Path(),))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_a_locked_folder_is_a_failure(here):
    files("a.py", "locked/b.py")
    Path("locked").chmod(0)
    try:
        sources = found(".")
    finally:
        Path("locked").chmod(0o755)
    assert names(sources.targets) == ["a.py"]
    assert [(failure.filename, failure.code) for failure in sources.failures] == [("locked", "LS001")]
