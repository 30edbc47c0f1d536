"""Fixtures that several test files share."""

from __future__ import annotations

import functools
import random
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from datetime import date
from functools import cache
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.fake_engine import FakeEngine

# How long an example takes says more of what runs beside the tests than of the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


STARTED = time.monotonic()


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "run the slow tests alone, those that can begin in so many seconds; each day in another order"
    parser.addoption("--slow", type=float, metavar="SECONDS", help=text)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Slow tests run alone, or where somebody names their file."""
    alone = config.getoption("slow") is not None
    if not alone and any(".py" in argument for argument in config.invocation_params.args):
        return
    chosen, others = [], []
    for item in items:
        (chosen if ("slow" in item.keywords) is alone else others).append(item)
    if alone:
        random.Random(date.today().toordinal()).shuffle(chosen)
    items[:] = chosen
    if others:
        config.hook.pytest_deselected(items=others)


def pytest_runtest_setup(item: pytest.Item) -> None:
    bound = item.config.getoption("slow")
    if bound is not None and time.monotonic() - STARTED > bound:
        pytest.skip("the slow tests have had their time today")


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
