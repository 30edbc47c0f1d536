"""The server's work: quick for a file of 2,000 rows, done once for a text, given up when the text changes."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from lorascale_lint.server import checks as checks_module
from lorascale_lint.server.checks import Checks
from lorascale_lint.server.worker import Worker

MERGE = """\
def merge_{n}(weight, lora_A, lora_B, alpha, rank):
    weight += lora_B @ lora_A * ({scale})


"""
PLAIN = """\
def plain_{n}(rows, limit):
    found = []
    for row in rows:
        if len(row) > limit:
            found.append(row.strip())
        else:
            found.extend(part for part in row.split(",") if part)
    return found


"""


def large() -> str:
    """A file of 2,000 rows with twenty merges, one of them wrong."""
    parts = []
    for n in range(192):
        parts.append(PLAIN.format(n=n))
        if n % 10 == 0:
            parts.append(MERGE.format(n=n, scale="rank / alpha" if n == 100 else "alpha / rank"))
    text = "".join(parts)
    assert 1990 < text.count("\n") < 2010
    return text


def test_2000_rows_take_less_than_200_ms(tmp_path: Path):
    path, text = tmp_path / "large.py", large()
    checks = Checks()
    checks.check(path, {path: text})  # imports and rule tables
    took = []
    for n in range(3):
        started = time.process_time()
        report, _ = checks.check(path, {path: f"{text}# {n}\n"}, typing=True)
        took.append(time.process_time() - started)
        assert [finding.code for finding in report.findings] == ["LS111"]
    assert min(took) < 0.2


def test_the_map_of_a_text_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "lora.py"
    text = MERGE.format(n=1, scale="alpha / rank")
    checks = Checks()
    (found,) = checks.applications(path, {path: text})
    assert found["scale"] == "alpha / rank"
    with monkeypatch.context() as patch:
        patch.setattr(checks_module, "examine_paths", None)
        assert checks.applications(path, {path: text}) == [found]
    (other,) = checks.applications(path, {path: text.replace("alpha / rank", "rank / alpha")})
    assert other["scale"] == "rank / alpha"
    checks.forget()
    with monkeypatch.context() as patch:
        patch.setattr(checks_module, "examine_paths", None)
        with pytest.raises(TypeError):
            checks.applications(path, {path: text})


def endless() -> None:
    while True:
        time.sleep(0.001)


@pytest.mark.asyncio
async def test_work_is_given_up_when_its_document_changes():
    worker = Worker()
    work = asyncio.ensure_future(worker.run("a", endless))
    await asyncio.sleep(0.05)
    worker.give_up("b")
    await asyncio.sleep(0.05)
    assert not work.done()
    worker.give_up("a")
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(work, 10)
    assert await worker.run("a", lambda: 7) == 7


@pytest.mark.asyncio
async def test_the_thread_survives_work_that_ends_while_it_is_given_up():
    worker = Worker()
    for _ in range(300):
        work = asyncio.ensure_future(worker.run("a", lambda: 1))
        await asyncio.sleep(0)
        worker.give_up("a")
        try:
            assert await asyncio.wait_for(work, 10) == 1
        except asyncio.CancelledError:
            continue
    assert await asyncio.wait_for(worker.run("b", lambda: 2), 10) == 2


@pytest.mark.asyncio
async def test_errors_of_the_work_come_through():
    with pytest.raises(ZeroDivisionError):
        await Worker().run("a", lambda: 1 // 0)
