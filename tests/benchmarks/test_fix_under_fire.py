"""``--fix`` under fire, a few moments of each kind; the benchmark has the thousands."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable

import pytest

KINDS = ["SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "two-runs", "edits"]
Run = Callable[..., "subprocess.CompletedProcess[str]"]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX processes")


def counts(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, int]]:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "kind", [kind if kind == "SIGKILL" else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS]
)
def test_nothing_is_lost_and_nothing_left(benchmark: Run, kind: str) -> None:
    (found,) = counts(benchmark("fix_under_fire", "--moments", "4", "--only", kind)).values()
    assert found["moments"] == 4


@pytest.mark.slow
def test_a_full_disk(benchmark: Run) -> None:
    namespace = ["unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/tmp"]
    try:
        possible = subprocess.run(namespace, capture_output=True, check=False).returncode == 0
    except OSError:
        possible = False
    if not possible:
        pytest.skip("no disk can be mounted here")
    (found,) = counts(benchmark("fix_under_fire", "--moments", "6", "--only", "full-disk")).values()
    assert found["moments"] == 6
