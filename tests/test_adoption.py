"""Starting with a project that has findings: a baseline, a revision to compare with, a count."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lorascale_lint import cli

Lint = Callable[..., tuple[int, str, str]]
FUNCTIONS = "def f():\n    unscaled\n\n\nclass C:\n    def g(self):\n        risky\n"


@pytest.fixture
def lint(fake_engine, capsys) -> Lint:
    def run(*args: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.run(list(args))
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def baseline(lint: Lint) -> Path:
    """A baseline of `pkg/a.py`, in a folder of its own."""
    for folder in ("pkg", "ci"):
        Path(folder).mkdir()
    Path("pkg/a.py").write_text(FUNCTIONS)
    code, out, err = lint("--baseline", "ci/known.json", "--write-baseline")
    assert (code, out, err) == (0, "", "Wrote 2 findings to ci/known.json.\n")
    return Path("ci/known.json")


def known(file: Path) -> dict[str, object]:
    return json.loads(file.read_text())["findings"]


def test_a_baseline_lists_places_by_definition(baseline):
    assert json.loads(baseline.read_text()) == {
        "version": 1,
        "findings": {"../pkg/a.py": {"LS101": {"f": 1}, "LS201": {"C.g": 1}}},
    }


def test_known_findings_are_silent_and_counted(lint, baseline):
    before = baseline.stat().st_mtime_ns
    assert lint("--baseline", str(baseline)) == (0, "No findings in 1 file; 2 known before.\n", "")
    assert lint("--baseline", str(baseline), "--output-format=json") == (0, "[]\n", "")
    assert baseline.stat().st_mtime_ns == before


def test_moved_lines_do_not_wake_what_is_known(lint, baseline):
    Path("pkg/a.py").write_text("import os\n\n\n" + FUNCTIONS)
    assert lint("--baseline", str(baseline))[0] == 0


def test_a_new_finding_is_reported(lint, baseline):
    Path("pkg/a.py").write_text(FUNCTIONS + "\n    def h(self):\n        unscaled\n")
    code, out, err = lint("--baseline", str(baseline), "--output-format=concise")
    assert (code, err) == (1, "")
    assert out.splitlines()[0].startswith("pkg/a.py:10:9: LS101")
    assert out.splitlines()[1] == "Found 1 finding in 1 file (1 fixable with --fix); 2 known before."


def test_one_more_in_a_known_place_shows_all_of_it(lint, baseline):
    Path("pkg/a.py").write_text(FUNCTIONS.replace("    unscaled\n", "    unscaled\n    unscaled\n"))
    code, out, _ = lint("--baseline", str(baseline), "--output-format=json")
    assert code == 1
    assert [item["location"]["row"] for item in json.loads(out)] == [2, 3]


def test_the_same_finding_in_another_file_is_new(lint, baseline):
    Path("pkg/b.py").write_text(FUNCTIONS)
    assert lint("--baseline", str(baseline), "-q", "--output-format=concise")[1].count("pkg/b.py") == 2


def test_what_is_repaired_leaves_the_baseline(lint, baseline):
    Path("pkg/a.py").write_text(FUNCTIONS.replace("unscaled", "scaled"))
    assert lint("--baseline", str(baseline)) == (
        0,
        "No findings in 1 file; 1 known before.\n",
        "ci/known.json is shorter now.\n",
    )
    assert known(baseline) == {"../pkg/a.py": {"LS201": {"C.g": 1}}}
    Path("pkg/a.py").write_text(FUNCTIONS)
    assert lint("--baseline", str(baseline))[0] == 1


def test_a_file_that_is_gone_leaves_the_baseline(lint, baseline):
    Path("pkg/a.py").unlink()
    Path("pkg/b.py").touch()
    assert lint("--baseline", str(baseline), "-q") == (0, "", "")
    assert known(baseline) == {}


@pytest.mark.parametrize(
    "args",
    [("--select", "LS2"), ("--ignore", "LS101"), ("pkg/b.py",), ("--diff",), ("--exit-zero", "pkg/b.py")],
)
def test_what_a_run_did_not_judge_stays_in_the_baseline(lint, baseline, args):
    before = known(baseline)
    Path("pkg/b.py").touch()
    Path("pkg/a.py").write_text("def f():\n    pass\n\n\nclass C:\n    def g(self):\n        risky\n")
    lint("--baseline", str(baseline), "-q", *args)
    assert known(baseline) == before


def test_a_file_that_cannot_be_parsed_keeps_its_entries(lint, baseline):
    before = known(baseline)
    Path("pkg/a.py").write_text("def\n")
    assert lint("--baseline", str(baseline), "-q")[0] == 2
    assert known(baseline) == before


def test_findings_seen_with_preview_only_stay_known(lint):
    Path("a.py").write_text("doubtful\n")
    options = ("--baseline", "known.json", "-q")
    assert lint(*options, "--write-baseline", "--preview") == (0, "", "")
    assert known(Path("known.json")) == {"a.py": {"LS904": {"": 1}}}
    assert lint(*options) == (0, "", "")
    assert lint(*options, "--preview") == (0, "", "")


def test_writing_again_for_one_file_keeps_the_others(lint, baseline):
    Path("pkg/b.py").write_text("unscaled\n")
    assert lint("--baseline", str(baseline), "--write-baseline", "pkg/b.py", "-q") == (0, "", "")
    assert set(known(baseline)) == {"../pkg/a.py", "../pkg/b.py"}


def test_fixing_leaves_known_findings_alone(lint, baseline):
    Path("pkg/b.py").write_text("unscaled\n")
    assert lint("--baseline", str(baseline), "--fix", "-q") == (0, "", "")
    assert Path("pkg/a.py").read_text() == FUNCTIONS
    assert Path("pkg/b.py").read_text() == "scaled\n"


def test_a_baseline_that_cannot_be_written_is_no_failure(lint, baseline):
    Path("pkg/a.py").write_text("x\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(30, "Read-only file system")))
        code, out, err = lint("--baseline", str(baseline))
    assert (code, out) == (0, "No findings in 1 file.\n")
    assert err == "warning: ci/known.json: cannot be written: Read-only file system\n"
    assert [path.name for path in Path("ci").iterdir()] == ["known.json"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"version": 1, "findings": []}',
        '{"version": 1, "findings": {"a.py": {"LS101": {"f": -1}}}}',
        '{"version": 1, "findings": {"a.py": {"LS101": ["f"]}}}',
        "\x00",
    ],
)
def test_a_broken_baseline(lint, text):
    Path("known.json").write_text(text)
    assert lint("--baseline", "known.json") == (2, "", "error: known.json: is no baseline\n")


@pytest.mark.skipif(os.name == "nt", reason="pipes and devices")
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_baseline_that_is_no_file(lint, kind):
    """The settings of somebody else's repository name it, too."""
    path = Path("known.json")
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    Path("lorascale-lint.toml").write_text('baseline = "known.json"\n')
    for options in ((), ("--write-baseline",)):
        assert lint(*options, ".") == (
            2,
            "",
            "error: known.json: cannot be read: not a regular file\n",
        )


def test_a_baseline_of_another_version_or_none(lint):
    Path("known.json").write_text('{"version": 2}')
    assert lint("--baseline", "known.json")[2] == (
        "error: known.json: version 2 of baselines is not known here\n"
    )
    assert lint("--baseline", "no.json")[2] == "error: no.json: cannot be read: No such file or directory\n"


@pytest.mark.parametrize(
    "args",
    [
        ("--write-baseline", "--baseline", "a", "--fix"),
        ("--write-baseline", "--baseline", "a", "--diff-base", "main"),
        ("--baseline", "a", "-"),
        ("--diff-base", "main", "-"),
        ("--statistics", "--output-format", "sarif"),
    ],
)
def test_misused(lint, args):
    code, out, err = lint(*args)
    assert (code, out) == (2, "")
    assert err.startswith("Usage: ")


def git(*args: str) -> None:
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main")
    subprocess.run(["git", *identity, *args], check=True, capture_output=True)


@pytest.fixture
def repository(lint: Lint) -> Lint:
    """A repository with one commit on `main`, on a branch `work`."""
    git("init", "-q")
    for name in ("a", "moved", "gone", "same"):
        Path(f"{name}.py").write_text(f"# {name}\n" + FUNCTIONS)
    git("add", ".")
    git("commit", "-qm", "Start")
    git("checkout", "-qb", "work")
    return lint


def since(lint: Lint, *args: str) -> tuple[int, list[str]]:
    code, out, err = lint("--diff-base", "main", "-q", "--output-format=concise", *args)
    assert err == ""
    return code, [line.partition(": ")[0] for line in out.splitlines()]


def test_nothing_has_changed(repository):
    assert since(repository) == (0, [])


def test_only_what_came_since_is_reported(repository):
    Path("a.py").write_text("import os\n\n" + FUNCTIONS + "\nhopeless\n")
    Path("new.py").write_text("unscaled\n")
    git("mv", "moved.py", "elsewhere.py")
    Path("gone.py").unlink()
    assert since(repository) == (1, ["a.py:11:1", "new.py:1:1"])
    git("add", ".")
    git("commit", "-qm", "Work")
    assert since(repository) == (1, ["a.py:11:1", "new.py:1:1"])
    assert since(repository, "elsewhere.py") == (0, [])


def test_commits_on_the_base_do_not_count(repository):
    git("checkout", "-q", "main")
    Path("a.py").write_text("x\n")
    git("commit", "-qam", "Repair it there")
    git("checkout", "-q", "work")
    assert since(repository) == (0, [])


def test_an_ignored_file_is_new(repository):
    Path(".git/info/exclude").write_text("generated.py\n")
    Path("generated.py").write_text("unscaled\n")
    assert since(repository, "generated.py") == (1, ["generated.py:1:1"])


def test_from_a_folder_below(repository, monkeypatch):
    Path("below").mkdir()
    Path("below/b.py").write_text(FUNCTIONS)
    git("add", ".")
    git("commit", "-qm", "Below")
    git("branch", "-f", "main")
    monkeypatch.chdir("below")
    Path("b.py").write_text(FUNCTIONS + "hopeless\n")
    assert since(repository) == (1, ["b.py:8:1"])


def test_a_name_that_git_would_quote(repository):
    Path("größe a.py").write_text("unscaled\n")
    git("add", ".")
    git("commit", "-qm", "Odd")
    git("branch", "-f", "main")
    Path("größe a.py").write_text("x\nunscaled\n")
    assert since(repository) == (0, [])


def test_with_a_baseline(repository):
    Path("a.py").write_text("hopeless\nunscaled\n")
    options = ("--baseline", "known.json")
    Path("known.json").write_text('{"version": 1, "findings": {"a.py": {"LS301": {"": 1}}}}')
    assert since(repository, *options) == (1, ["a.py:2:1"])


@pytest.mark.parametrize("name", ["no-such-branch", "--output=x", "HEAD:a.py", ""])
def test_no_such_revision(repository, name):
    assert repository(f"--diff-base={name}") == (
        2,
        "",
        f"error: --diff-base: git knows no revision {name!r}\n",
    )


def test_no_repository(lint):
    Path("a.py").write_text("x\n")
    code, out, err = lint("--diff-base", "main")
    assert (code, out) == (2, "")
    assert err.startswith("error: --diff-base: fatal: not a git repository")


def test_git_runs_nothing_that_the_repository_configures(repository):
    mark = Path("ran").absolute()
    program = Path("program.sh").absolute()
    program.write_text(f"#!/bin/sh\ntouch {mark}\n")
    program.chmod(0o755)
    for key in ("diff.external", "core.fsmonitor", "diff.x.textconv", "diff.x.command"):
        git("config", key, str(program))
    Path(".gitattributes").write_text("*.py diff=x\n")
    Path("a.py").write_text("unscaled\nhopeless\n")
    assert since(repository)[0] == 1
    assert not mark.exists()


def test_statistics(lint):
    Path("a.py").write_text("unscaled\nhopeless\nunscaled\nrisky\n")
    Path("b.py").write_text("def\n")
    code, out, _ = lint("--statistics")
    assert code == 2
    assert out.splitlines()[:4] == [
        "2  LS101 [*] unscaled-merge",
        "1  LS001 unreadable-file",
        "1  LS201 none-guard",
        "1  LS301 dropped-alpha",
    ]
    assert json.loads(lint("--statistics", "--output-format", "json")[1])[0] == {
        "code": "LS101",
        "name": "unscaled-merge",
        "count": 2,
        "fixable": 2,
    }


def test_the_baseline_of_the_settings(lint):
    Path("pkg").mkdir()
    Path("pkg/a.py").write_text("unscaled\n")
    assert lint("--write-baseline") == (
        2,
        "",
        "error: --write-baseline needs --baseline FILE, or the setting `baseline`\n",
    )
    Path("lorascale-lint.toml").write_text('baseline = "known.json"\n')
    assert lint("--write-baseline")[0] == 0
    assert known(Path("known.json")) == {"pkg/a.py": {"LS101": {"": 1}}}
    assert lint("pkg/a.py", "-q") == (0, "", "")
    assert lint("--isolated", "-q")[0] == 1


def test_a_file_behind_write_baseline_is_told_where_it_belongs(lint):
    assert lint("--write-baseline", "known.json") == (
        2,
        "",
        "error: known.json: no such file or folder; "
        "--write-baseline needs --baseline FILE, or the setting `baseline`\n",
    )
