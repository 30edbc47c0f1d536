"""The commands around checking: help, pages of rules, completion, the cache."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lorascale_lint import cli
from lorascale_lint.cache import ContentCache
from lorascale_lint.run_rules import all_pages
from lorascale_lint.selection import find_page


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = cli.run(list(args))
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("command", [(), *((name,) for name in cli.COMMANDS)])
def test_help_teaches(capsys, command):
    code, out, err = run(capsys, *command, "--help")
    assert (code, err) == (0, "")
    assert out.startswith("Usage: lorascale-lint")
    assert command == ("clean",) or "Examples:\n  " in out
    assert "..." not in out.partition("Commands:")[2], "a command's line is cut"


def test_rule_lists_every_code_once(capsys):
    code, out, err = run(capsys, "rule")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == [page.code for page in all_pages()]


def test_one_rule(capsys):
    code, out, err = run(capsys, "rule", "LS002")
    assert (code, err) == (0, "")
    assert out.startswith("# unused-suppression (LS002)\n\nComment that silences")
    assert run(capsys, "rule", "unused-suppression") == (code, out, err)
    _, record, _ = run(capsys, "rule", "LS002", "--output-format", "json")
    assert json.loads(record)["fix_availability"] == "always"
    assert json.loads(record)["explanation"] in out


def test_all_rules(capsys):
    _, text, _ = run(capsys, "rule", "--all", "--output-format", "markdown")
    _, record, _ = run(capsys, "rule", "--all", "--output-format", "json")
    pages = json.loads(record)
    assert [page["code"] for page in pages] == [page.code for page in all_pages()]
    for page in pages:
        assert f"# {page['name']} ({page['code']})\n\n{page['explanation']}\n" in text
        for part in ("What it finds", "Why it is wrong", "Effect", "Limits", "References"):
            assert f"## {part}\n" in page["explanation"]
        assert "## Bad\n" in page["explanation"] or "## Example\n" in page["explanation"]


def test_list_of_rules_as_markdown(capsys):
    _, out, _ = run(capsys, "rule", "--output-format", "markdown")
    assert "| LS201 | none-comparison | " in out


@pytest.mark.parametrize("args", [("LS101", "--all"), ("LS10",), ("LS999",)])
def test_rule_misused(capsys, args):
    code, out, err = run(capsys, "rule", *args)
    assert (code, out) == (2, "")
    assert err


@pytest.mark.parametrize(
    ("name", "hint"), [("unscled-merge", "; did you mean 'unscaled-merge'?"), ("nope", "")]
)
def test_a_name_that_is_near_is_offered(capsys, name, hint):
    assert run(capsys, "rule", name) == (2, "", f"error: unknown rule '{name}'{hint}\n")


@pytest.mark.parametrize(("word", "hint"), [("chek", "check"), ("inspct", "inspect"), ("rules", "rule")])
def test_a_command_that_is_near_is_offered(capsys, monkeypatch, tmp_path, word, hint):
    monkeypatch.chdir(tmp_path)
    assert cli.run([word]) == 2
    message = f"error: {word}: no such file, folder or command; did you mean {hint!r}?\n"
    assert capsys.readouterr() == ("", message)


def test_a_path_that_is_near_a_command_is_a_path(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules").mkdir()
    assert cli.run(["rules"]) == 0
    assert cli.run(["src"]) == 2
    assert capsys.readouterr().err.endswith("error: src: no such file or folder\n")


def test_clean(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "lorascale-lint"
    for room in ("facts", "results"):
        ContentCache(folder / room).write("ab" * 32, b"kept")
    (folder / "note.txt").write_text("not ours")
    code, out, err = run(capsys, "clean")
    assert (code, out, err) == (0, f"Removed 2 cached files from {folder}.\n", "")
    assert run(capsys, "clean") == (0, "The cache is empty.\n", "")
    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["note.txt"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(capsys, shell):
    code, out, err = run(capsys, "completion", shell)
    assert (code, err) == (0, "")
    assert f"_LORASCALE_LINT_COMPLETE={shell}_complete" in out
    if program := shutil.which(shell):
        subprocess.run([program, "-n"], input=out, text=True, check=True)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("che", ["plain,check"]),
        ("--unsafe", ["plain,--unsafe-fixes"]),
        ("rule unscaled-m", ["plain,unscaled-merge"]),
        ("check --select LS101,LS20", [f"plain,LS101,LS2{number:02}" for number in range(1, 10)]),
        ("sr", ["file,sr"]),
        ("check sr", ["file,sr"]),
        ("check --output-format js", ["plain,json"]),
    ],
)
def test_completions(capfd, monkeypatch, words, expected):
    monkeypatch.setenv("COMP_WORDS", f"lorascale-lint {words}")
    monkeypatch.setenv("COMP_CWORD", str(len(words.split())))
    monkeypatch.setenv("_LORASCALE_LINT_COMPLETE", "bash_complete")
    monkeypatch.setattr(sys, "argv", [str(Path(sys.executable).with_name("lorascale-lint"))])
    with pytest.raises(SystemExit):
        cli.cli.main([], prog_name="lorascale-lint")
    assert capfd.readouterr().out.splitlines()[: len(expected)] == expected


@pytest.mark.parametrize("name", ["unused-suppression", "unknown-suppression"])
def test_examples_on_comments(capsys, tmp_path, name):
    page = find_page(name).page()
    bad, good = (re.search(rf"## {part}\n\n```python\n(.*?)```", page, re.S)[1] for part in ("Bad", "Good"))
    file = tmp_path / "lora.py"
    file.write_text(bad)
    _, out, _ = run(capsys, "--no-cache", "--output-format=json", str(file))
    assert [item["name"] for item in json.loads(out) if item["code"] < "LS1"] == [name]
    file.write_text(good)
    code, out, err = run(capsys, "--no-cache", str(file))
    assert (code, out.splitlines()[0], err) == (0, "No findings in 1 file.", "")


def test_the_repair_of_an_unused_comment_is_the_good_example(capsys, tmp_path):
    page = find_page("LS002").page()
    bad, good = (re.search(rf"## {part}\n\n```python\n(.*?)```", page, re.S)[1] for part in ("Bad", "Good"))
    file = tmp_path / "lora.py"
    file.write_text(bad)
    assert run(capsys, "--no-cache", "--fix", "-q", str(file)) == (0, "", "")
    assert file.read_text() == good
