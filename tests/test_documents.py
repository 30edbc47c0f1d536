"""Every command in these pages is run, and prints what the page says.

`python -m tests.test_documents docs/start.md` writes what they print into a page.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from pathlib import Path

import click
import pytest
import yaml

from lorascale_lint.cli import COMMANDS, cli
from lorascale_lint.rule import all_rules
from tests.documents import write_examples

ROOT = Path(__file__).parents[1]
PAGES = [
    "docs/start.md",
    "docs/suppression.md",
    "docs/settings.md",
    "docs/output.md",
    "docs/too-strong.md",
    "docs/write-a-rule.md",
    "docs/write-a-driver.md",
    "docs/drivers.md",
    "docs/harness.md",
    "docs/prove.md",
    "docs/python-api.md",
    "docs/testing.md",
    "docs/adapters.md",
    "docs/audit.md",
    # The commands of scripts/main-job, of which others test the parts.
    pytest.param("docs/fix-fastvideo.md", marks=[pytest.mark.network, pytest.mark.slow]),
]
# Commands that are printed for people and not run here, and what they need.
NOT_RUN = {
    "README.md": "the package index, and a folder of the reader's",
    "docs/accuracy.md": "the list of bugs and clones of the repositories it names, or minutes",
    "docs/reliability.md": "minutes; tests/benchmarks and tests/test_fix_command.py run the same with less",
    "docs/repairs.md": "the list of bugs, clones of the repositories it names, and wheels of nine packages",
    "docs/speed.md": "an idle machine; tests/benchmarks/test_many_classes.py runs the same with less",
}
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def environment_of_its_own(folder: Path) -> Path:
    """An environment with the packages of this one, into which a page may install; its scripts."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "packages.pth").write_text("".join(f"{entry}\n" for entry in (ROOT, *map(Path, sys.path))))
    for name, module in (("pip", "pip"), ("lorascale-lint", "lorascale_lint")):
        script = folder / "bin" / name
        script.write_text(f'#!/bin/sh\nexec "{folder}/bin/python" -m {module} "$@"\n')
        script.chmod(0o755)
    return folder / "bin"


def commands_of(block: str) -> list[str]:
    """The commands of a block."""
    return re.findall(r"^\$ (.*)$", block, re.MULTILINE)


def with_outputs(page: Path, folder: Path, run_only: str = "") -> str:
    """The page with what its commands print now, one after the other in a folder with the page's files.

    Blocks whose first command does not begin with `run_only` stay as they are.
    """
    project = folder / "project"
    project.mkdir()
    write_examples(page, project)
    scripts = Path(sys.executable).parent
    if "pip install" in "".join(_BLOCK.findall(page.read_text())):
        shutil.copytree(ROOT / "docs" / "examples" / "house_rules", project / "house_rules")
        scripts = environment_of_its_own(folder / "environment")
    on_ci = {"CI", "BUILD_NUMBER"}  # pytest prints longer lines where they are set
    environment = {
        **{name: value for name, value in os.environ.items() if name not in on_ci},
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(folder / "cache"),
        "COLUMNS": "100",
        "PYTHONWARNINGS": "ignore",  # of plug-ins of pytest that are at hand here
        "PIP_NO_BUILD_ISOLATION": "0",  # with what is installed, not from the network
        "PIP_NO_DEPS": "1",
    }

    def run(block: re.Match[str]) -> str:
        lines = []
        if not commands_of(block[1])[0].startswith(run_only):
            return block[0]
        for command in commands_of(block[1]):
            done = subprocess.run(
                ["bash", "-c", command],
                cwd=project,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            lines.append(f"$ {command}\n{done.stdout}")
        return f"```console\n{''.join(lines)}```"

    return _BLOCK.sub(run, page.read_text())


@pytest.mark.skipif(os.name == "nt", reason="the commands are for bash")
@pytest.mark.parametrize("name", PAGES)
def test_commands_print_what_the_page_says(name, tmp_path):
    again = f"python -m tests.test_documents {name}"
    assert (ROOT / name).read_text() == with_outputs(ROOT / name, tmp_path), again
    if (drawn := tmp_path / "project" / "map.svg").exists():
        assert drawn.read_text() == (ROOT / "docs" / "assets" / "map.svg").read_text()
    assert drawn.exists() == (name == "docs/too-strong.md")


@pytest.mark.skipif(os.name == "nt", reason="the commands are for bash")
@pytest.mark.parametrize("name", sorted({*NOT_RUN} - {"README.md"}))
def test_what_a_page_says_of_the_program_itself(name, tmp_path):
    again = f"python -m tests.test_documents {name}"
    assert (ROOT / name).read_text() == with_outputs(ROOT / name, tmp_path, "lorascale-lint "), again


def test_the_picture_of_a_finding_is_what_the_command_prints(tmp_path):
    pytest.importorskip("rich")
    drawn = tmp_path / "finding.svg"
    command = [sys.executable, str(ROOT / "scripts" / "screenshot.py"), str(drawn)]
    subprocess.run(command, check=True, cwd=tmp_path)
    assert drawn.read_text() == (ROOT / "docs" / "assets" / "finding.svg").read_text(), command


def documents() -> dict[str, str]:
    """The text of every page, by its name."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    return {page.relative_to(ROOT).as_posix(): page.read_text() for page in pages}


def test_every_page_with_commands_is_run_or_named():
    run = {name if isinstance(name, str) else str(name.values[0]) for name in PAGES}
    found = {name for name, text in documents().items() if "\n```console\n$ " in text}
    assert found - run - {"CONTRIBUTING.md"} == {*NOT_RUN}


@pytest.mark.parametrize("page", ["README.md", "docs/accuracy.md"])
def test_figures_of_first_sight_are_what_the_command_prints(page):
    text = documents()[page]
    for sheet in set(re.findall(r"benchmarks/first_sight.py score (\S+\.jsonl)", text)):
        command = [sys.executable, "benchmarks/first_sight.py", "score", sheet]
        printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        printed = re.sub(r"^  LS\d+: .*\n", "", printed, flags=re.MULTILINE)
        if page != "README.md":
            shown = re.sub(r"\n\n(preview only: [^\n]*\n).*", r"\n\1", printed, flags=re.DOTALL)
            assert f"score {sheet}\n{shown}```" in text
            continue
        (default,) = re.findall(r"^default: (\d+ of \d+)", printed, re.MULTILINE)
        own, *_ = re.findall(r"own code: +(\d+ of \d+|none judged)", printed)
        assert f"**{default} findings true**" in text
        assert f"| {own.replace('none judged', 'no findings')} |" in text


def test_the_readme_counts_the_rules():
    families = Counter(rule.code[:3] for rule in all_rules())
    numbers = [families.total(), *(families[f"LS{number}"] for number in range(1, 6))]
    said = documents()["README.md"].partition("## What it finds\n")[2].lstrip().partition("\n\n")[0]
    assert list(map(int, re.findall(r"(?<!\w)\d+", said))) == numbers


def written_commands() -> list[tuple[str, str]]:
    """Every `lorascale-lint ...` of the documents, with the name of its page."""
    found = []
    for name, text in documents().items():
        outside = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
        lines = re.findall(r"^(?:\$ |docker run .*? )?(lorascale-lint .*)$", text, re.MULTILINE)
        found += [(name, line) for line in [*lines, *re.findall(r"`(lorascale-lint [^`]*)`", outside)]]
    return found


def test_options_in_the_documents_exist():
    assert len(written_commands()) > 60
    for page, line in written_commands():
        words = shlex.split(re.split(r" [|>] | && |; ", line)[0].split(" # ")[0])[1:]
        name = words[0] if words and words[0] in COMMANDS else "check"
        command = cli.get_command(click.Context(cli), name)
        assert command
        parameters = (*command.params, *cli.params)
        known = {option for item in parameters for option in (*item.opts, *item.secondary_opts, "--help")}
        given = {word.split("=")[0] for word in words if word.startswith("--")}
        assert given <= known, f"{page}: {line}"


@pytest.mark.parametrize(
    ("language", "read"), [("json", json.loads), ("toml", tomllib.loads), ("yaml", yaml.safe_load)]
)
def test_settings_in_the_documents_can_be_read(language, read):
    for name, text in documents().items():
        for block in re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            assert block.startswith("--8<--") or read(block), name


def test_links_lead_somewhere():
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists() or target.startswith("rules/"), f"{page.name}: {target}"


if __name__ == "__main__":
    for given in map(Path, sys.argv[1:]):
        only = "lorascale-lint " if given.resolve().relative_to(ROOT).as_posix() in NOT_RUN else ""
        with tempfile.TemporaryDirectory() as scratch:
            given.write_text(with_outputs(given, Path(scratch), only))
            for picture in Path(scratch, "project").glob("*.svg"):
                shutil.copy(picture, ROOT / "docs" / "assets")
