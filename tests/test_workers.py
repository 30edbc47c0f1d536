"""The pool: what its processes answer, and what happens when one of them dies or does not come to an end."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lorascale_lint import engine
from lorascale_lint.bounds import POOL_FROM
from lorascale_lint.findings import FileFailure
from lorascale_lint.workers import WorkerDied, WorkerPool
from tests.projects import write_files


def test_answers_and_errors_come_back() -> None:
    with WorkerPool(2, 30) as pool:
        assert list(pool.map(len, ["a", b"\0" * 100_000, ""])) == [1, 100_000, 0]
        with pytest.raises(ZeroDivisionError):
            pool.submit(divmod, 1, 0).result()
        assert pool.submit(int, "7").result() == 7


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_worker_that_dies_costs_its_call_alone() -> None:
    with WorkerPool(1, 30) as pool:
        crash = pool.submit(ctypes.string_at, 0)
        after = pool.submit(len, "abc")
        with pytest.raises(WorkerDied, match=f"signal {int(signal.SIGSEGV)}"):
            crash.result()
        assert after.result() == 3
        with pytest.raises(WorkerDied, match="code 3"):
            pool.submit(os._exit, 3).result()


def test_a_call_that_takes_too_long_is_ended() -> None:
    with WorkerPool(1, 1.5) as pool:
        late = pool.submit(time.sleep, 60)
        with pytest.raises(WorkerDied, match=r"not done after 1\.5 s"):
            late.result()


def test_an_error_in_the_parent_ends_the_workers_at_once() -> None:
    def interrupted() -> None:
        with WorkerPool(1, 60) as pool:
            pool.submit(time.sleep, 50)
            pool.submit(time.sleep, 50)
            time.sleep(0.5)
            raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert time.monotonic() - start < 30


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_workers_end_with_a_parent_that_is_killed() -> None:
    program = (
        "import os, sys\nfrom lorascale_lint.workers import WorkerPool\n"
        "pool = WorkerPool(1, 60)\nprint(pool.submit(os.getpid).result(), flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=False)
    worker = int(done.stdout)
    for _ in range(100):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{worker}/stat").exists() and ") Z" in Path(f"/proc/{worker}/stat").read_text():
            return
        time.sleep(0.1)
    pytest.fail("the worker lives on")


def crash_on_some(name: str, source: bytes, module: str) -> bytes | FileFailure:
    if name.endswith("bad.py"):
        ctypes.string_at(0)
    return REAL(name, source, module)


REAL = engine.analyse_file


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_file_that_kills_its_worker_is_reported_and_the_others_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_files(tmp_path, {f"lora_{i:02}.py": "lora = 1\n" for i in range(POOL_FROM)})
    (bad,) = write_files(tmp_path, {"bad.py": "lora = 1\n"})
    # Workers find this folder through the one that `trusted_path` keeps for the program.
    monkeypatch.setattr(engine, "analyse_file", crash_on_some)
    monkeypatch.setattr(
        "lorascale_lint.workers.trusted_path", lambda path: [*path, str(Path(__file__).parents[1])]
    )
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    result = engine.lint([*paths, bad], [])
    (failure,) = result.failures
    assert (failure.filename, failure.code) == (str(bad), "LS001")
    assert failure.message.startswith("cannot be analysed: its process ended with signal")
    assert result.checked == len(paths) + 1
