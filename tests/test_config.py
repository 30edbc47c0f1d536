"""Settings in pyproject.toml, and the globs in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorascale_lint.config import Config, ConfigError, Configs, read_config
from lorascale_lint.globs import glob_matches


def settings(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pyproject.toml"
    path.write_text(text)
    return path


def test_all_keys(tmp_path):
    path = settings(
        tmp_path,
        """
        [tool.lorascale-lint]
        select = ["LS1"]
        ignore = ["LS101"]
        exclude = ["gen"]
        per-file-ignores = { "tests/*" = ["LS1", "none-guard"] }
        """,
    )
    assert read_config(path) == Config(
        tmp_path, ("LS1",), ("LS101",), ("gen",), (("tests/*", ("LS1", "none-guard")),)
    )


def test_empty_section(tmp_path):
    assert read_config(settings(tmp_path, "[tool.lorascale-lint]\n")) == Config(tmp_path)


@pytest.mark.parametrize("text", ["", "[project]\nname = 'x'\n", "tool = 1\n"])
def test_no_section(tmp_path, text):
    assert read_config(settings(tmp_path, text)) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slect = []", "unknown key 'slect' in [tool.lorascale-lint]; did you mean 'select'?"),
        ("per_file_ignores = {}", "did you mean 'per-file-ignores'?"),
        ("zzz = 1", "unknown key 'zzz' in [tool.lorascale-lint]; did you mean"),
        ('select = "LS1"', "select in [tool.lorascale-lint] must be a list of strings"),
        ("exclude = [1]", "exclude in [tool.lorascale-lint] must be a list of strings"),
        ("per-file-ignores = []", "per-file-ignores in [tool.lorascale-lint] must be a table"),
        ("per-file-ignores = {a = 'LS1'}", 'per-file-ignores."a" in [tool.lorascale-lint] must be a list'),
        ("select = [", "pyproject.toml: "),
    ],
)
def test_errors_name_the_file_and_the_key(tmp_path, text, message):
    path = settings(tmp_path, "[tool.lorascale-lint]\n" + text)
    with pytest.raises(ConfigError) as error:
        read_config(path)
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)


@pytest.mark.parametrize("data", [b"\xff", b"[tool]\nlorascale-lint = 1\n"])
def test_unusable_files(tmp_path, data):
    path = tmp_path / "pyproject.toml"
    path.write_bytes(data)
    with pytest.raises(ConfigError):
        read_config(path)


def test_nearest_section_wins_and_a_file_without_one_is_passed_over(tmp_path):
    settings(tmp_path, "[tool.lorascale-lint]\nignore = ['LS1']\n")
    settings(tmp_path / "a", "[project]\n")
    settings(tmp_path / "b", "[tool.lorascale-lint]\n")
    configs = Configs()
    assert configs.of(tmp_path / "a" / "deep" / "x.py").root == tmp_path
    assert configs.of(tmp_path / "b" / "x.py") == Config(tmp_path / "b")


@pytest.mark.parametrize(
    ("glob", "path", "expected"),
    [
        ("gen", "gen/a.py", True),
        ("gen", "src/gen/a.py", True),
        ("gen/", "src/gen/a.py", True),
        ("gen", "src/generated.py", False),
        ("*_pb2.py", "src/x_pb2.py", True),
        ("src/gen", "src/gen/deep/a.py", True),
        ("src/gen", "other/src/gen/a.py", False),
        ("src/*.py", "src/a.py", True),
        ("src/*.py", "src/deep/a.py", False),
        ("./src/a.py", "src/a.py", True),
        ("/gen", "gen/a.py", True),
        ("/gen", "src/gen/a.py", False),
        ("src/**/a.py", "src/a.py", True),
        ("src/**/a.py", "src/x/y/a.py", True),
        ("**/gen", "x/gen/a.py", True),
        ("src/**", "src/x/a.py", True),
        ("a?.py", "ab.py", True),
        ("[ab].py", "a.py", True),
        ("[!ab].py", "a.py", False),
        ("[!ab].py", "c.py", True),
        ("a.py", "axpy", False),
        ("a[.py", "a[.py", True),
    ],
)
def test_globs(glob, path, expected):
    assert glob_matches(glob, path) is expected


def test_globs_are_relative_to_the_settings(tmp_path, monkeypatch):
    config = Config(tmp_path, exclude=("src/gen",), per_file_ignores=(("src/a.py", ("LS1",)),))
    (tmp_path / "src").mkdir()
    monkeypatch.chdir(tmp_path / "src")
    assert config.excludes(Path("gen/x.py"))
    assert config.excludes(tmp_path / "src" / "gen")
    assert not config.excludes(Path("x.py"))
    assert config.ignored_in(Path("a.py")) == ("LS1",)
    assert config.ignored_in(tmp_path / "a.py") == ()
