"""The same input gives the same bytes, whatever the surroundings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lorascale_lint.rule import all_rules
from tests.projects import write_bad_examples

RULES = ("LS1", "LS2", "LS3")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bad examples, each family in a folder of its own."""
    folder = tmp_path_factory.mktemp("project")
    write_bad_examples(folder, (rule for rule in all_rules() if rule.code.startswith(RULES)))
    return folder


def said(project: Path, *args: str, **environment: str) -> bytes:
    """Everything that a check says, with all repairs."""
    command = [sys.executable, "-m", "lorascale_lint", "check", "--preview", "--output-format", "json", *args]
    own = {**os.environ, "XDG_CACHE_HOME": str(project.parent / "cache"), **environment}
    done = subprocess.run(command, cwd=project, env=own, capture_output=True, check=False, timeout=300)
    assert (done.returncode, done.stderr) == (1, b"")
    return done.stdout


def test_nothing_but_the_input_matters(project: Path) -> None:
    first = said(project, "--no-cache", ".", PYTHONHASHSEED="0")
    assert first.count(b'"code"') > 40
    assert said(project, "--no-cache", "LS3", "LS1", "LS2", PYTHONHASHSEED="1") == first
    assert said(project, ".", PYTHONHASHSEED="2") == first  # fills the cache
    assert said(project, ".", PYTHONHASHSEED="3") == first
    if os.name != "nt":
        assert said(project, "--no-cache", "--executor", "processes:2", ".", PYTHONHASHSEED="4") == first
