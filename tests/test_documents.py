"""Every command in these pages is run, and prints what the page says.

`python -m tests.test_documents docs/start.md` writes what they print into a page.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

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
    "docs/adapters.md",
    "docs/audit.md",
    pytest.param("docs/fix-fastvideo.md", marks=pytest.mark.network),
]
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


def with_outputs(page: Path, folder: Path) -> str:
    """The page with what its commands print now, one after the other in a folder with the page's files."""
    project = folder / "project"
    project.mkdir()
    write_examples(page, project)
    scripts = Path(sys.executable).parent
    if "pip install" in "".join(_BLOCK.findall(page.read_text())):
        shutil.copytree(ROOT / "docs" / "examples" / "house_rules", project / "house_rules")
        scripts = environment_of_its_own(folder / "environment")
    environment = {
        **os.environ,
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(folder / "cache"),
        "COLUMNS": "100",
        "PIP_NO_BUILD_ISOLATION": "0",  # with what is installed, not from the network
        "PIP_NO_DEPS": "1",
    }

    def run(block: re.Match[str]) -> str:
        lines = []
        for command in re.findall(r"^\$ (.*)$", block[1], re.MULTILINE):
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
    assert (ROOT / name).read_text() == with_outputs(ROOT / name, tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="the commands are for bash")
def test_the_picture_of_the_map_is_what_the_command_draws(tmp_path):
    with_outputs(ROOT / "docs" / "too-strong.md", tmp_path)
    assert (tmp_path / "project" / "map.svg").read_text() == (ROOT / "docs/assets/map.svg").read_text()


def test_the_picture_of_a_finding_is_what_the_command_prints(tmp_path):
    pytest.importorskip("rich")
    drawn = tmp_path / "finding.svg"
    command = [sys.executable, str(ROOT / "scripts" / "screenshot.py"), str(drawn)]
    subprocess.run(command, check=True, cwd=tmp_path)
    assert drawn.read_text() == (ROOT / "docs" / "assets" / "finding.svg").read_text(), command


def test_links_lead_somewhere():
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists() or target.startswith("rules/"), f"{page.name}: {target}"


if __name__ == "__main__":
    for given in map(Path, sys.argv[1:]):
        with tempfile.TemporaryDirectory() as scratch:
            given.write_text(with_outputs(given, Path(scratch)))
            for picture in Path(scratch, "project").glob("*.svg"):
                shutil.copy(picture, ROOT / "docs" / "assets")
