"""Fixtures that several test files share."""

from __future__ import annotations

import functools
import subprocess
import sys
import zipfile
from collections.abc import Callable
from functools import cache
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.fake_engine import FakeEngine

# How long an example takes says more of what runs beside the tests than of the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def published_tree(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """A function from a package and a version to a new copy of it: never imported by us, never kept.

    Each wheel is downloaded once in a session. Tests that use it are marked ``network``.
    """
    downloads = tmp_path_factory.mktemp("wheels")
    numbers = count()

    @cache
    def wheel(package: str, version: str) -> Path:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        options = ["--no-deps", "--only-binary", ":all:", "--dest", str(downloads)]
        subprocess.run([*command, *options, f"{package}=={version}"], check=True, timeout=300)
        (found,) = downloads.glob(f"{package.replace('-', '_')}-{version}-*.whl")
        return found

    def tree(package: str, version: str) -> Path:
        folder = tmp_path_factory.mktemp(f"{package}-{version}-{next(numbers)}")
        with zipfile.ZipFile(wheel(package, version)) as archive:
            archive.extractall(folder)
        return folder

    return tree


@pytest.fixture(scope="session")
def fastvideo_tree(published_tree: Callable[[str, str], Path]) -> Callable[[str], Path]:
    """A function from a version to a new copy of the published FastVideo."""
    return functools.partial(published_tree, "fastvideo")


@pytest.fixture
def fake_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeEngine:
    """The command line on an engine that reports words, in an empty working directory."""
    engine = FakeEngine()
    rules = sorted(engine.words.values(), key=lambda word: word.code)
    monkeypatch.setattr("lorascale_lint.engine.lint", engine)
    monkeypatch.setattr("lorascale_lint.checking.is_passed_over", lambda *_: False)
    monkeypatch.setattr("lorascale_lint.rule.all_rules", lambda: tuple(rules))
    for variable in ("NO_COLOR", "FORCE_COLOR", "FORCE_HYPERLINK"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    return engine
