"""The command that most of these tests run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lorascale_lint import cli


@pytest.fixture
def inspect(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs `lorascale-lint inspect`: exit code and what stands on both streams."""

    def run(*args: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.run(["inspect", *map(str, args)])
        return code, *capsys.readouterr()

    return run
