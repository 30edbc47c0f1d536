"""The pytest plugin: fixture `lora_scale_check`. Imports pytest and nothing else until it is used."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """One option, to repeat a failure."""
    parser.getgroup("lorascale-lint").addoption(
        "--lora-scale-seed",
        type=int,
        default=None,
        metavar="NUMBER",
        help="Seed of lora_scale_check, to repeat a failure (new ones by default).",
    )


class _Check(functools.partial[Any]):
    """Adds no frame to a traceback; pytest shows an argument of a failing test by its representation."""

    def __repr__(self) -> str:
        return "<checks the scale of a delta>"


@pytest.fixture
def lora_scale_check(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Check the scale of a delta: `lora_scale_check(merge_adapter)`; see `assert_effective_scale`."""
    from lorascale_lint.testing import assert_effective_scale

    return _Check(assert_effective_scale, seed=request.config.getoption("--lora-scale-seed", default=None))
