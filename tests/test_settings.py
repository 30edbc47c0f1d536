"""Settings and options: the loader and the published schema agree, and each setting does what it says."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings, strategies as st

from lorascale_lint import cli
from lorascale_lint.settings import SETTINGS, WrongSetting, json_schema, read_settings
from tests.examples import examples

ROOT = Path(__file__).parents[1]
Lint = Callable[..., tuple[int, str, str]]


@pytest.fixture
def lint(fake_engine, capsys) -> Lint:
    def run(*args: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.run(list(args))
        out, err = capsys.readouterr()
        return code, out, err

    return run


def codes(lint: Lint, *args: str) -> list[str]:
    return [item["code"] for item in json.loads(lint("--output-format=json", *args)[1])]


def own_file(text: str) -> None:
    Path("lorascale-lint.toml").write_text(text)


def test_the_published_schema_is_the_one_of_the_program():
    published = json.loads((ROOT / "docs/lorascale-lint.schema.json").read_text())
    assert published == json_schema()
    jsonschema.Draft202012Validator.check_schema(published)


_KEYS = [setting.key for setting in SETTINGS]
_PLAIN = st.one_of(
    st.booleans(),
    st.integers(),
    st.sampled_from(["error", "warning", "LS1", ""]),
    st.none(),
    st.floats(allow_nan=False),
)
_VALUES = st.recursive(
    _PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["driver", "a", "tests/*"]), inner, max_size=2),
    ),
    max_leaves=5,
)


def agree(section: dict[str, Any]) -> None:
    valid = jsonschema.Draft202012Validator(json_schema()).is_valid(section)
    try:
        read_settings(section, "here")
        loaded = True
    except WrongSetting:
        loaded = False
    assert loaded == valid


@settings(max_examples=examples(400))
@given(st.dictionaries(st.sampled_from([*_KEYS, "slect"]), _VALUES, max_size=3))
def test_schema_and_loader_agree(section: dict[str, Any]):
    agree(section)


_ARGUMENT = st.fixed_dictionaries(
    {"library": st.sampled_from(["kit", "", 1]), "call": st.just("load")},
    optional={
        "keywords": st.sampled_from([["scale"], [], [1], "scale"]),
        "position": st.sampled_from([0, 2, -1, 1.0, 1.5, True, "1"]),
        "entry": st.just("x"),
    },
)
_KNOWLEDGE = st.fixed_dictionaries(
    {},
    optional={
        "roles": st.one_of(
            _PLAIN,
            st.dictionaries(
                st.sampled_from(["kappa", "_k2", "γ", "2k", "a.b", ""]),
                st.sampled_from(["alpha", "A", "gate", "Alpha", "dropout", 1, []]),
                max_size=2,
            ),
        ),
        "strength-arguments": st.one_of(_PLAIN, _ARGUMENT, st.lists(_ARGUMENT, max_size=2)),
        "role": st.just({}),
    },
)


@settings(max_examples=examples(400))
@given(_KNOWLEDGE)
def test_schema_and_loader_agree_on_words(table: dict[str, Any]):
    agree({"knowledge": table})


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_a_default_is_a_value(setting):
    if setting.default is not None:
        read_settings({setting.key: setting.default}, "here")


def test_own_file_has_no_section_and_comes_before_pyproject(lint):
    Path("a.py").write_text("unscaled\nrisky\n")
    Path("pyproject.toml").write_text('[tool.lorascale-lint]\nignore = ["LS101"]\n')
    assert codes(lint) == ["LS201"]
    own_file('ignore = ["LS201"]\n')
    assert codes(lint) == ["LS101"]
    assert codes(lint, "--isolated") == ["LS101", "LS201"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slect = []", "unknown key 'slect' in lorascale-lint.toml; did you mean 'select'?"),
        ("severity = 'low'", "severity in lorascale-lint.toml must be one of error, warning"),
        ("verify = 1", "verify in lorascale-lint.toml must be a table"),
        (
            "verify.drivr = 'x'",
            "unknown key 'drivr' in verify in lorascale-lint.toml; did you mean 'driver'?",
        ),
        ("baseline = 1", "baseline in lorascale-lint.toml must be a string"),
        ("force-exclude = 1", "force-exclude in lorascale-lint.toml must be true or false"),
        ("unfixable = ['LS999']", "unknown rule 'LS999'"),
        (
            "knowledge.roles.kappa = 'alfa'",
            "roles.kappa in knowledge in lorascale-lint.toml must be one of alpha, rank, scaling, strength, "
            "multiplier, A, B, base, delta, magnitude, gate",
        ),
        ("knowledge.roles = ['kappa']", "roles in knowledge in lorascale-lint.toml must be a table of names"),
        (
            "knowledge.roles.'a.b' = 'A'",
            "'a.b' of roles in knowledge in lorascale-lint.toml must be an ident",
        ),
        (
            "knowledge.strength-arguments = 1",
            "strength-arguments in knowledge in lorascale-lint.toml must be a",
        ),
        (
            "[[knowledge.strength-arguments]]\nlibrary = 'kit'\nkeywords = []",
            "call is missing in an item of strength-arguments in knowledge in lorascale-lint.toml",
        ),
        ("[", "lorascale-lint.toml: "),
    ],
)
def test_errors_name_the_file(lint, text, message):
    Path("a.py").touch()
    own_file(text)
    code, out, err = lint()
    assert (code, out) == (2, "")
    assert "lorascale-lint.toml: " in err
    assert message in err


@pytest.mark.parametrize(
    ("text", "args", "expected"),
    [
        ("select = ['LS1']", (), ["LS101"]),
        ("select = []", (), []),
        ("select = ['LS1']\nextend-select = ['LS3']", (), ["LS101", "LS301"]),
        ("select = ['LS1']", ("--extend-select", "LS3"), ["LS101", "LS301"]),
        ("ignore = ['LS1']", ("--extend-select", "LS1"), ["LS101", "LS201", "LS301"]),
        ("ignore = ['LS1']\nextend-select = ['LS1']", (), ["LS201", "LS301"]),
        ("extend-select = ['LS904']", (), ["LS101", "LS201", "LS301", "LS904"]),
        ("select = ['may-be-wrong']", (), ["LS904"]),
        ("", ("--select", "LS2", "--extend-select", "LS904"), ["LS201", "LS904"]),
        ("", ("--extend-select", "LS1", "--ignore", "LS101"), ["LS201", "LS301"]),
    ],
)
def test_selection(lint, text, args, expected):
    Path("a.py").write_text("unscaled\nrisky\nhopeless\ndoubtful\n")
    own_file(text)
    assert codes(lint, *args) == expected


@pytest.mark.parametrize(
    ("text", "args", "after"),
    [
        ("", (), "scaled\nsound\n"),
        ("unfixable = ['LS1']", (), "unscaled\nsound\n"),
        ("fixable = ['LS1']", (), "scaled\nrisky\n"),
        ("fixable = []", (), "unscaled\nrisky\n"),
        ("fixable = ['LS1']", ("--fixable", "ALL"), "scaled\nsound\n"),
        ("", ("--fixable", "LS1"), "scaled\nrisky\n"),
        ("", ("--unfixable", "none-guard"), "scaled\nrisky\n"),
        ("unfixable = ['LS1']", ("--unfixable", "LS2"), "unscaled\nrisky\n"),
    ],
)
def test_what_may_be_repaired(lint, text, args, after):
    Path("a.py").write_text("unscaled\nrisky\n")
    own_file(text)
    lint("--fix", "--unsafe-fixes", *args)
    assert Path("a.py").read_text() == after


def test_what_may_not_be_repaired_is_not_called_fixable(lint):
    Path("a.py").write_text("unscaled\n")
    assert "Found 1 finding in 1 file.\n" in lint("--unfixable", "LS101")[1]


def test_severity(lint):
    Path("a.py").write_text("unscaled\nx  # lorascale: ignore[LS201]\n")
    assert codes(lint) == ["LS101", "LS002"]
    assert codes(lint, "--severity", "error") == ["LS101"]
    own_file("severity = 'error'")
    assert codes(lint) == ["LS101"]
    assert codes(lint, "--severity", "warning") == ["LS101", "LS002"]


@pytest.fixture
def tree(fake_engine) -> None:
    for name in ("a.py", "gen/b.py", "old/c.py"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("unscaled\n")


def linted(lint: Lint, *args: str) -> list[str]:
    return [item["filename"] for item in json.loads(lint("--output-format=json", *args)[1])]


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize(
    ("text", "args", "expected"),
    [
        ("exclude = ['gen']", (), ["a.py", "old/c.py"]),
        ("exclude = ['gen']\nextend-exclude = ['old']", (), ["a.py"]),
        ("exclude = ['gen']", ("--extend-exclude", "old"), ["a.py"]),
        ("exclude = ['gen']", ("--exclude", "old"), ["a.py", "gen/b.py"]),
        ("", ("--exclude", "gen,*.py"), []),
        ("exclude = ['gen']", ("gen/b.py", "a.py"), ["a.py"]),
        ("exclude = ['gen']", ("--no-force-exclude", "gen/b.py", "a.py"), ["a.py", "gen/b.py"]),
        ("exclude = ['gen']\nforce-exclude = false", ("gen/b.py",), ["gen/b.py"]),
        ("exclude = ['gen']\nforce-exclude = false", ("--force-exclude", "gen/b.py"), []),
        ("exclude = ['gen']\nforce-exclude = false", (".",), ["a.py", "old/c.py"]),
    ],
)
def test_what_is_left_out(lint, text, args, expected):
    own_file(text)
    assert linted(lint, *args) == expected


@pytest.mark.usefixtures("tree")
def test_globs_of_options_are_relative_to_the_working_directory(lint, monkeypatch):
    monkeypatch.chdir("gen")
    assert linted(lint, "--exclude", "/b.py", ".") == []
    assert len(linted(lint, "--exclude", "gen/b.py", ".")) == 1


def test_config_shows_values_and_where_they_come_from(lint):
    Path("pkg").mkdir()
    Path("pyproject.toml").write_text(
        '[tool.lorascale-lint]\nignore = ["LS1"]\nbaseline = "ci/known.json"\n'
        'verify.driver = "drive.py:run"\n[tool.lorascale-lint.per-file-ignores]\n"tests/*" = ["ALL"]\n'
    )
    code, out, err = lint("config", "pkg")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "settings for pkg: pyproject.toml"
    assert '  select             ["ALL"]  (default)' in lines
    assert '  ignore             ["LS1"]' in lines
    assert '  baseline           "ci/known.json"' in lines
    assert '  per-file-ignores   {"tests/*": ["ALL"]}' in lines
    assert lines[-1] == "9 of 10 rules run"
    record = json.loads(lint("config", "--output-format", "json")[1])
    assert record["settings"]["ignore"] == {"value": ["LS1"], "from": "pyproject.toml"}
    assert record["settings"]["preview"] == {"value": False, "from": "default"}
    assert "LS101" not in record["rules"]
    assert [key for key in record["settings"] if not key.startswith("verify")] == [
        setting.key for setting in SETTINGS if setting.key != "verify"
    ]


def test_config_without_settings_and_with_wrong_ones(lint):
    assert lint("config")[1].startswith("settings for .: none found, so the defaults hold\n")
    assert lint("config", "nowhere") == (2, "", "error: nowhere: no such file or folder\n")
    own_file("ignore = ['LS999']")
    assert lint("config")[0] == 2


def test_config_prints_the_schema(lint):
    code, out, _ = lint("config", "--schema")
    assert code == 0
    assert json.loads(out) == json_schema()


def test_the_settings_of_this_project_are_valid():
    section = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"].get("lorascale-lint", {})
    read_settings(section, "pyproject.toml")
