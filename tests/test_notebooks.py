"""Notebooks: read cell by cell, named by cell, fixed without touching anything else."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hypothesis import given, settings, strategies as st

from lorascale_lint import cli
from lorascale_lint.sources.notebook import NotANotebook, Notebook
from tests.examples import examples

Lint = Callable[..., tuple[int, str, str]]


@pytest.fixture
def lint(fake_engine, capsys) -> Lint:
    def run(*args: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.run(list(args))
        out, err = capsys.readouterr()
        return code, out, err

    return run


def notebook(*cells: str, language: str | None = "python", **layout: Any) -> bytes:
    """A notebook with a text cell in front, laid out as Jupyter does it."""
    made = nbformat.v4.new_notebook()
    made.cells = [nbformat.v4.new_markdown_cell("# größe\nunscaled")]
    made.cells += [nbformat.v4.new_code_cell(source) for source in cells]
    if language:
        made.metadata["language_info"] = {"name": language}
    document = json.loads(nbformat.writes(made))
    return (json.dumps(document, **({"indent": 1, "ensure_ascii": False} | layout)) + "\n").encode()


def test_findings_are_named_by_cell(lint):
    Path("a.ipynb").write_bytes(notebook("import os", "x = 1\ny = unscaled\n", "hopeless"))
    assert lint() == (
        1,
        "a.ipynb:cell 3:2:5 LS101 unscaled-merge: `unscaled` is here\n"
        "1 | x = 1\n"
        "2 | y = unscaled\n"
        "  |     ^^^^^^^^\n"
        "why:\n"
        "  1. a.ipynb:cell 3:2: the word is read\n"
        "     | y = unscaled\n"
        "effect: 2.00× too strong for alpha=64, rank=128\n"
        "fix: safe, with --fix: write `scaled`\n"
        "\n"
        "a.ipynb:cell 4:1:1 LS301 dropped-alpha: `hopeless` is here\n"
        "1 | hopeless\n"
        "  | ^^^^^^^^\n"
        "why:\n"
        "  1. a.ipynb:cell 4:1: the word is read\n"
        "     | hopeless\n"
        "effect: 2.00× too strong for alpha=64, rank=128\n"
        "fix: none\n"
        "\n"
        "Found 2 findings in 1 file (1 fixable with --fix).\n",
        "",
    )


def test_json_has_the_cell(lint):
    Path("a.ipynb").write_bytes(notebook("x = 1\nunscaled"))
    (item,) = json.loads(lint("--output-format=json")[1])
    assert (item["filename"], item["cell"], item["location"]["row"]) == ("a.ipynb", 2, 2)
    assert item["fix"]["edits"][0]["cell"] == item["trace"][0]["cell"] == 2


@pytest.mark.parametrize("output_format", ["github", "gitlab", "sarif", "rdjson"])
def test_viewers_of_files_are_sent_to_the_row_of_the_file(lint, output_format):
    raw = notebook("x = 1", 'y = "ü"\nunscaled = x')
    Path("a.ipynb").write_bytes(raw)
    row = next(number for number, line in enumerate(raw.decode().split("\n"), 1) if "unscaled = x" in line)
    out = lint("--output-format", output_format)[1]
    assert f"line={row}," in out or f'ine": {row},' in out


@pytest.mark.parametrize(
    "layout",
    [{}, {"indent": 2}, {"indent": None}, {"ensure_ascii": True}, {"indent": None, "separators": (",", ":")}],
)
def test_a_fix_changes_its_row_and_nothing_else(lint, layout):
    before = notebook(
        "%matplotlib inline\ny = 'ü'\n!pip install x", "unscaled\nrisky", "%%bash\nunscaled", **layout
    )
    Path("a.ipynb").write_bytes(before)
    code, out, err = lint("--fix", "--output-format=concise")
    assert (code, err) == (1, "")
    assert out.startswith("Fixed 1 finding:\n  a.ipynb: 1 × LS101 unscaled-merge\na.ipynb:cell 3:2:1: LS201")
    after = Path("a.ipynb").read_bytes()
    nbformat.validate(nbformat.reads(after.decode(), as_version=4))
    changed = json.loads(before)
    changed["cells"][2]["source"] = ["scaled\n", "risky"]
    assert json.loads(after) == changed
    assert len(after) == len(before) - 2


def test_a_diff_is_a_patch_of_the_file(lint):
    Path("a.ipynb").write_bytes(notebook("x = 1\nunscaled"))
    code, out, _ = lint("--diff")
    assert code == 1
    assert '-    "unscaled"\n+    "scaled"\n' in out


def test_standard_input(lint, monkeypatch):
    raw = notebook("unscaled")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))
    code, out, err = lint("--fix", "--stdin-filename", "a.ipynb", "-")
    assert (code, json.loads(out)["cells"][1]["source"]) == (0, ["scaled"])
    assert err.endswith("No findings left in 1 file.\n")


def test_a_layout_that_would_be_lost_is_not_fixed(lint):
    raw = notebook("unscaled").replace(b'"cells":', b'"cells" :')
    Path("a.ipynb").write_bytes(raw)
    code, _, err = lint("--fix", "-q", "--output-format=concise")
    assert code == 1
    assert Path("a.ipynb").read_bytes() == raw
    code, _, err = lint("--fix")
    assert "a.ipynb is not fixed: it is laid out in a way that would not be kept" in err


def test_comments_silence_and_are_added(lint):
    Path("a.ipynb").write_bytes(notebook("unscaled  # lorascale: ignore[LS101]", "risky"))
    assert lint("--add-ignore=known")[0] == 0
    cells = json.loads(Path("a.ipynb").read_bytes())["cells"]
    assert cells[2]["source"] == ["risky  # lorascale: ignore[none-guard] known"]


def test_baseline(lint):
    Path("a.ipynb").write_bytes(notebook("def f():\n    unscaled"))
    assert lint("--baseline", "known.json", "--write-baseline")[0] == 0
    assert json.loads(Path("known.json").read_text())["findings"] == {"a.ipynb": {"LS101": {"f": 1}}}
    Path("a.ipynb").write_bytes(notebook("x = 1", "def f():\n    unscaled"))
    assert lint("--baseline", "known.json", "-q") == (0, "", "")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is no JSON"),
        (b"[1]", "has no cells"),
        (b'{"worksheets": []}', "has no cells"),
        (b'{"cells": [{"cell_type": "code", "source": 1}]}', "has a cell whose source is no text"),
        (b'{"cells": [{"cell_type": "code"}]}', "has a cell whose source is no text"),
        (b"[" * 100_000, "nested too deeply"),
        (b"\xff", "is no JSON"),
    ],
)
def test_what_is_no_notebook_was_not_checked(lint, content, why):
    Path("a.ipynb").write_bytes(content)
    code, out, err = lint()
    assert code == 2
    assert f"a.ipynb:1:1 LS001 unreadable-file: cannot be read as a notebook: {why}" in err
    assert "1 file could not be checked" in out


def test_other_languages_are_nothing_to_check(lint):
    Path("a.ipynb").write_bytes(notebook("unscaled <- 1", language="R"))
    assert lint() == (0, "No findings in 0 files.\n", "")
    Path("b.ipynb").write_bytes(notebook("unscaled", language=None))
    assert lint("-q")[0] == 1


def test_a_syntax_error_is_placed_in_its_cell(lint, monkeypatch):
    Path("a.ipynb").write_bytes(notebook("x = 1", "def\n"))
    code, _, err = lint()
    assert code == 2
    assert "LS001" in err


def test_stubs_hold_no_code(lint):
    Path("a.pyi").write_text("unscaled\n")
    assert lint("a.pyi", "-q") == (0, "", "")
    Path("b.py").touch()
    assert lint(".") == (0, "No findings in 1 file.\n", "")


def test_a_notebook_is_no_context(lint, fake_engine):
    Path("pyproject.toml").touch()
    Path("a.py").touch()
    Path("b.ipynb").write_bytes(notebook("x"))
    lint("a.py")
    assert fake_engine.calls[0]["context"] == ()


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("x = 1", "x = 1"),
        ("%time f()\ng()", "pass  # row 0 of IPython\ng()"),
        ("if x:\n    !ls\n    y()", "if x:\n    pass  # row 0 of IPython\n    y()"),
        ("out = !ls", "pass  # row 0 of IPython"),
        ("out = %magic a", "pass  # row 0 of IPython"),
        ("?print", "pass  # row 0 of IPython"),
        ("print??", "pass  # row 0 of IPython"),
        ("x = 5 \\\n%3", "x = 5 \\\n%3"),
        ("s = '''\n%d\n''' % 1", "s = '''\n%d\n''' % 1"),
        ("%%time\nf()", "# row 0 of IPython\nf()"),
        ("%%bash\nls\n", "# row 0 of IPython\n# row 1 of IPython"),
        ("", ""),
        ("# %% cell 1", "# %% cell 1"),
    ],
)
def test_what_only_ipython_understands(cell, expected):
    read = Notebook.read(notebook(cell))
    assert read is not None
    assert read.text.split("\n", 1)[1] == f"{expected}\n"
    assert read.with_text(read.text) == read.raw
    (only,) = read.cells(read.text)
    assert (only.number, only.row) == (2, 2)


def test_a_lost_cell_is_refused():
    read = Notebook.read(notebook("a", "b"))
    with pytest.raises(ValueError, match="a cell would be lost"):
        read.with_text(read.text.replace("# %% cell 2\n", ""))


@settings(max_examples=examples(150))
@given(st.lists(st.text(st.sampled_from("ab%!?#= \n'\\ü{}:\u2028\r"), max_size=25), max_size=4))
def test_unchanged_text_is_the_unchanged_file(cells):
    raw = notebook(*cells)
    read = Notebook.read(raw)
    assert read is not None
    assert read.with_text(read.text) == raw


@settings(max_examples=examples(150))
@given(
    st.recursive(
        st.one_of(st.none(), st.text(max_size=5), st.integers()),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(st.sampled_from(["cells", "cell_type", "source", "metadata"]), inner, max_size=4),
        ),
    )
)
def test_any_json_is_read_or_refused(document):
    with contextlib.suppress(NotANotebook):
        Notebook.read(json.dumps(document).encode())


def test_map_leaves_notebooks_out_and_says_so_of_a_named_one(lint):
    Path("a.ipynb").write_bytes(notebook("x = 1"))
    Path("b.py").touch()
    assert lint("map")[0] == 0
    code, _, err = lint("map", "a.ipynb")
    assert (code, err) == (
        2,
        "error: a.ipynb:1:1 LS001 unreadable-file: is a notebook, which only `check` reads\n",
    )
