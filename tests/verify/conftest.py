"""Children of `verify` that share one import of torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.verify.warm import Nursery

    Warm = Callable[[], AbstractContextManager[None]]


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """The process that has imported torch."""
    pytest.importorskip("torch")
    from tests.verify.warm import Nursery

    found = Nursery(tmp_path_factory.mktemp("nursery"))
    yield found
    found.close()


@pytest.fixture(scope="session")
def warm_children(nursery: Nursery) -> Warm:
    """A context in which `verify` forks its children, for fixtures of more than one test."""
    from tests.verify.warm import warm_children

    return partial(warm_children, nursery)


@pytest.fixture
def warm(warm_children: Warm) -> Iterator[None]:
    """`verify` forks its children in this test."""
    with warm_children():
        yield


@pytest.fixture(scope="module")
def warm_module(warm_children: Warm) -> Iterator[None]:
    """`verify` forks its children in the tests and fixtures of this file."""
    with warm_children():
        yield
