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
    pytest.param("docs/fix-fastvideo.md", marks=pytest.mark.network),
]
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def with_outputs(page: Path, folder: Path) -> str:
    """The page with what its commands print now, one after the other in a folder with the page's files."""
    project = folder / "project"
    project.mkdir()
    write_examples(page, project)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(folder / "cache"),
        "COLUMNS": "100",
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
