"""Children that share one import of torch answer as those that import it themselves."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from lorascale_lint.verify.run import run_verify
from lorascale_lint.verify.verdicts import Row, Verdict

HERE = Path(__file__).parent


def rows(folder: Path, behaviour: str) -> tuple[Row, ...]:
    folder.mkdir()
    shutil.copy(HERE / "tiny_target.py", folder)
    (folder / "behaviour.txt").write_text(behaviour)
    return run_verify(folder, driver=f"{HERE / 'tiny_driver.py'}:ENTRY", seed=11).rows


@pytest.mark.parametrize("behaviour", ["truncated", "aborts"])
def test_the_same_rows(
    behaviour: str, warm_children: Callable[[], AbstractContextManager[None]], tmp_path: Path
) -> None:
    cold = rows(tmp_path / "cold", behaviour)
    with warm_children():
        warm = rows(tmp_path / "warm", behaviour)
    assert warm == cold
    assert {row.verdict for row in warm} & {Verdict.TRUNCATED, Verdict.CRASHED}
