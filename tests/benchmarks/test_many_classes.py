"""The benchmark of many findings in one file measures what it says."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable


def test_each_class_has_a_finding_with_a_repair(
    benchmark: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = benchmark("many_classes", "2")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"2 classes: \d+\.\d s of processor time, 2 findings with a repair\n", done.stdout)
