"""Fixtures that several test files share."""

from __future__ import annotations

import functools
import os
import random
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import date
from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.costs import pytest_runtest_logreport, pytest_runtest_makereport, pytest_terminal_summary
from tests.fake_engine import FakeEngine

if TYPE_CHECKING:
    from tests.verify.warm import Nursery

# Several tests run at once: threads of one would only wait for those of another. Before torch is imported.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

__all__ = ["pytest_runtest_logreport", "pytest_runtest_makereport", "pytest_terminal_summary"]

# How long an example takes says more of what runs beside the tests than of the code.
_ANY_MACHINE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("all", _ANY_MACHINE)
settings.register_profile("some", _ANY_MACHINE, max_examples=25)
settings.load_profile("some")


STARTED = time.monotonic()


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "run the slow tests alone, those that can begin in so many seconds; each day in another order"
    parser.addoption("--slow", type=float, metavar="SECONDS", help=text)
    parser.addoption("--costs", action="store_true", help="show the processor time of each file of tests")


def pytest_configure(config: pytest.Config) -> None:
    """Random examples: the slow tests take four times as many."""
    if config.getoption("slow") is not None:
        settings.load_profile("all")


def is_slow(item: pytest.Item) -> bool:
    """Is it marked so, or one of random examples, of which the other tests take a quarter?"""
    random_examples = getattr(getattr(item, "obj", None), "is_hypothesis_test", False)
    return "slow" in item.keywords or (item.config.getoption("slow") is not None and random_examples)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Slow tests run alone, or where somebody names their file."""
    alone = config.getoption("slow") is not None
    if not alone and any(".py" in argument for argument in config.invocation_params.args):
        return
    chosen: list[pytest.Item] = []
    others: list[pytest.Item] = []
    for item in items:
        (chosen if is_slow(item) is alone else others).append(item)
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
def published_wheel(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """A function from a package and a version to its wheel, which all processes of a run download once."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "wheels"
    shared.mkdir(exist_ok=True)

    @cache
    def wheel(package: str, version: str) -> Path:
        pattern = f"{package.replace('-', '_')}-{version}-*.whl"
        if not (found := list(shared.glob(pattern))):
            own = tmp_path_factory.mktemp("wheel")
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
            options = ["--no-deps", "--only-binary", ":all:", "--dest", str(own)]
            subprocess.run([*command, *options, f"{package}=={version}"], check=True, timeout=300)
            (downloaded,) = own.glob(pattern)
            # Whole at once, for another process may be looking.
            found = [downloaded.replace(shared / downloaded.name)]
        return found[0]

    return wheel


@pytest.fixture(scope="session")
def published_tree(
    tmp_path_factory: pytest.TempPathFactory, published_wheel: Callable[[str, str], Path]
) -> Callable[[str, str], Path]:
    """A function from a package and a version to a new copy of it: never imported by us, never kept.

    Tests that use it are marked ``network``.
    """
    numbers = count()

    def tree(package: str, version: str) -> Path:
        folder = tmp_path_factory.mktemp(f"{package}-{version}-{next(numbers)}")
        with zipfile.ZipFile(published_wheel(package, version)) as archive:
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


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """The process that has imported torch."""
    pytest.importorskip("torch")
    from tests.verify.warm import Nursery

    found = Nursery(tmp_path_factory.mktemp("nursery"))
    yield found
    found.close()


@pytest.fixture(scope="session")
def warm_children(nursery: Nursery) -> Callable[[], AbstractContextManager[None]]:
    """A context in which `verify` forks its children, for fixtures of more than one test."""
    from tests.verify.warm import warm_children

    return functools.partial(warm_children, nursery)


@pytest.fixture
def warm(warm_children: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
    """`verify` forks its children in this test."""
    with warm_children():
        yield


@pytest.fixture(scope="module")
def warm_module(warm_children: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
    """`verify` forks its children in the tests and fixtures of this file."""
    with warm_children():
        yield
