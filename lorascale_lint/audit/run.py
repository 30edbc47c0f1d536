"""The comparisons of a plan, made in parallel.

Threads are enough: reading, sums and products leave the interpreter to the others.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, as_completed
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lorascale_lint.adapters.floats import FLOATS, ITEM_SIZE, rounded
from lorascale_lint.adapters.tensors import Stored, pieces
from lorascale_lint.audit.blocks import Buffers
from lorascale_lint.audit.judge import judge
from lorascale_lint.audit.measure import Measurement
from lorascale_lint.audit.plan import Given, Plan, Task
from lorascale_lint.audit.units import make_units
from lorascale_lint.audit.verdicts import Judgement, Verdict
from lorascale_lint.errors import InputError

if TYPE_CHECKING:
    from lorascale_lint.workers.executors import Dask

_PIECE = 1 << 20
_MOST_TASKS = 256

Progress = Callable[[int, int], None]  # bytes done, bytes in all
Found = list[list[Judgement]]  # for each of some weights


def run(plan: Plan, jobs: int, progress: Progress) -> list[Judgement]:
    """Every judgement of a plan, in its order. Raises InputError if a file can't be read."""
    local = threading.local()
    opened: list[Buffers] = []

    def work(batch: Sequence[int]) -> Found:
        buffers: Buffers | None = getattr(local, "buffers", None)
        if buffers is None:
            buffers = local.buffers = Buffers()
            opened.append(buffers)
        return [judge_task(plan.tasks[index], plan.given, buffers) for index in batch]

    with ThreadPoolExecutor(jobs) as pool:
        batches = {pool.submit(work, batch): batch for batch in _batches(plan.tasks)}
        try:
            return _gathered(plan, batches, progress)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
        finally:
            for buffers in opened:
                buffers.reader.close()


def run_elsewhere(plan: Plan, cluster: Dask, progress: Progress) -> list[Judgement]:
    """The same, made by the workers of a cluster, which see the same files under the same names.

    Raises InputError if a file can't be read there, or nobody answers.
    """
    with cluster.connected() as (executor, hold):
        given = hold(tuple, plan.given)
        batches = {
            executor.submit(judge_tasks, [plan.tasks[index] for index in batch], given): batch
            for batch in _batches(plan.tasks)
        }
        gone: tuple[type[Exception], ...] = (CancelledError, *cluster.deaths)
        try:
            return _gathered(plan, batches, progress)
        except gone as error:
            raise InputError(f"the workers have gone: {error}") from error


def judge_tasks(tasks: Sequence[Task], given: Sequence[Given]) -> Found:
    """What is found for some weights. Raises InputError if a file can't be read."""
    buffers = Buffers()
    try:
        return [judge_task(task, given, buffers) for task in tasks]
    finally:
        buffers.reader.close()


def _gathered(
    plan: Plan, batches: Mapping[Future[Found], Sequence[int]], progress: Progress
) -> list[Judgement]:
    total = sum(task.size for task in plan.tasks)
    done = 0
    found: dict[int, list[Judgement]] = {}
    for future in as_completed(batches):
        batch = batches[future]
        found.update(zip(batch, future.result(), strict=True))
        done += sum(plan.tasks[index].size for index in batch)
        progress(done, total)
    judged = [*plan.judged, *(item for index in range(len(plan.tasks)) for item in found[index])]
    return [_perhaps_adapted(item) for item in judged] if plan.unplaced else judged


def _batches(tasks: Sequence[Task]) -> Iterator[list[int]]:
    """The tasks by number, the largest first: at the end no thread waits long. Small ones go together."""
    batch: list[int] = []
    size = 0
    for index in sorted(range(len(tasks)), key=lambda index: -tasks[index].size):
        batch.append(index)
        size += tasks[index].size
        if size >= _PIECE or len(batch) == _MOST_TASKS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _perhaps_adapted(item: Judgement) -> Judgement:
    # Where a module has no place, a tensor that changed may be its own.
    if item.verdict is not Verdict.CHANGED:
        return item
    detail = f"{item.detail} changed, perhaps by a module that no rule puts anywhere"
    return replace(item, verdict=Verdict.NOT_JUDGED, detail=detail)


def judge_task(task: Task, given: Sequence[Given], buffers: Buffers) -> list[Judgement]:
    """What is found for one weight. Raises InputError if a file can't be read."""
    base, merged = task.base, task.merged
    assert base is not None
    if task.deltas:
        units, found, rest = make_units(task, given, buffers.reader)
        found += [judge(Measurement(unit, buffers)) for unit in units]
        for first, last in rest:
            changed = changed_elements(base, merged, buffers, first, last)
            if changed:
                found.append(_changed(task, changed, (last - first) * base.columns, (first, last)))
        return found
    if task.saved is not None:
        index, key = task.saved
        return [_replaced(task, key, given[index].tensors[key], buffers)]
    changed = changed_elements(base, merged, buffers, 0, base.rows)
    if not changed:
        return [Judgement(task.name, merged.name, Verdict.MATCHES, adapted=False)]
    return [_changed(task, changed, base.rows * base.columns, None)]


def _changed(task: Task, changed: int, elements: int, rows: tuple[int, int] | None) -> Judgement:
    detail = f"{changed} of {elements} elements"
    if rows is not None:
        detail += f" in rows {rows[0]} to {rows[1] - 1}"
    return Judgement(
        task.name, task.merged.name, Verdict.CHANGED, detail, elements=elements, unequal=changed,
        adapted=False, rows=rows,
    )  # fmt: skip


def _replaced(task: Task, key: str, saved: Stored, buffers: Buffers) -> Judgement:
    base, merged = task.base, task.merged
    assert base is not None
    found = Judgement(key, merged.name, Verdict.MATCHES, "the weight that the adapter holds", modules=(key,))
    if saved.shape != merged.shape:
        return Judgement(key, merged.name, Verdict.NOT_JUDGED, "the adapter holds a weight of another shape")
    changed = changed_elements(saved, merged, buffers, 0, merged.rows)
    if not changed:
        return found
    if not changed_elements(base, merged, buffers, 0, merged.rows):
        return Judgement(
            key, merged.name, Verdict.NOT_APPLIED, "the base's weight is still there", modules=(key,)
        )
    detail = f"{changed} elements are not those of the weight that the adapter holds"
    return Judgement(key, merged.name, Verdict.DIFFERS, detail, modules=(key,))


def changed_elements(base: Stored, merged: Stored, buffers: Buffers, first: int, last: int) -> int:
    """How many elements of these rows are not the base's; another floating-point type alone is no change."""
    start, end = first * base.columns, last * base.columns
    if base.dtype == merged.dtype:
        width = base.size // max(1, base.rows * base.columns)
        return sum(
            _unequal_bytes(base, merged, buffers, start * width + offset, count, width)
            for offset, count in pieces((end - start) * width, _PIECE)
        )
    if base.dtype not in FLOATS or merged.dtype not in FLOATS:
        return end - start
    changed = 0
    step = _PIECE // 4
    for offset, count in pieces(end - start, step):
        wides = [
            buffers.wide(
                which,
                buffers.raw(
                    which, item, (start + offset) * ITEM_SIZE[item.dtype], count * ITEM_SIZE[item.dtype]
                ),
                item.dtype,
            )
            for which, item in enumerate((base, merged))
        ]
        expected = rounded(wides[0], merged.dtype)
        changed += int(np.count_nonzero((expected != wides[1]) & ~(np.isnan(expected) & np.isnan(wides[1]))))
    return changed


def _unequal_bytes(base: Stored, merged: Stored, buffers: Buffers, start: int, count: int, width: int) -> int:
    one, other = (buffers.raw(which, item, start, count) for which, item in enumerate((base, merged)))
    whole = count // 8 * 8
    if np.array_equal(one[:whole].view(np.uint64), other[:whole].view(np.uint64)) and np.array_equal(
        one[whole:], other[whole:]
    ):
        return 0
    return int(np.count_nonzero((one.reshape(-1, width) != other.reshape(-1, width)).any(axis=1)))
