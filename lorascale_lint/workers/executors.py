"""Where files are looked at: in processes of this machine, or in a Dask cluster.

Both stand behind `concurrent.futures`: `Workers.open` gives a function that takes a share of the files and
gives a future.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from lorascale_lint.bounds import CLUSTER_SECONDS
from lorascale_lint.errors import InputError
from lorascale_lint.workers.projects import Project, Received

Submit = Callable[[int, tuple[str, ...]], "Future[bytes]"]
"""Has a share of the files looked at, by its number and their names."""


class Workers(Protocol):
    """Processes that look at files."""

    @property
    def deaths(self) -> tuple[type[Exception], ...]:
        """What a future raises whose process died, for which another process may be tried."""
        ...

    def open(self, project: Project, shares: Sequence[tuple[str, ...]]) -> AbstractContextManager[Submit]:
        """Have processes ready for a project, of which they will look at ``shares``.

        Raises `InputError` where there are none.
        """
        ...


@dataclass(frozen=True, slots=True)
class Processes:
    """So many processes of this machine.

    They are forked: what they import is what this process would, and the project need not be sent.
    """

    count: int
    deaths: tuple[type[Exception], ...] = (BrokenProcessPool,)

    @contextmanager
    def open(self, project: Project, shares: Sequence[tuple[str, ...]]) -> Iterator[Submit]:
        """Have them ready."""
        try:
            context = multiprocessing.get_context("fork")
        except ValueError:
            raise InputError("processes can't be forked here") from None
        end, held = os.pipe()
        pool = ProcessPoolExecutor(self.count, context, _receive, (project, end, held))
        try:
            yield lambda number, share: pool.submit(_examine, number, share)
            pool.shutdown()
        finally:
            os.close(held)  # nobody waits for an answer any more: who is still at work ends
            pool.shutdown(cancel_futures=True)
            os.close(end)


_received: list[Received] = []


def _receive(project: Project, end: int, held: int) -> None:
    os.close(held)
    threading.Thread(target=_end_with, args=(end,), daemon=True).start()
    _received[:] = [Received(project)]


def _end_with(end: int) -> None:
    """End this process when the one that forked it closes its side of a pipe, or is gone, however it ended.

    A worker that is left behind waits for work without end, for the others hold its queue open.
    """
    os.read(end, 1)
    os._exit(1)


def _examine(number: int, share: tuple[str, ...]) -> bytes:
    return _received[0].examine(number, share)


@dataclass(frozen=True, slots=True)
class Dask:
    """The workers of a Dask cluster, by the address of its scheduler.

    A worker that dies is replaced by the cluster. The project is a task as well, so that it is made again
    where the last worker that had it is gone.
    """

    scheduler: str

    @property
    def deaths(self) -> tuple[type[Exception], ...]:
        """What a task raises with which several workers died."""
        from distributed import KilledWorker

        return (KilledWorker,)

    @contextmanager
    def open(self, project: Project, shares: Sequence[tuple[str, ...]]) -> Iterator[Submit]:
        """Connect to the cluster, and send the project."""
        with self.connected() as (executor, hold):
            held = hold(Received.of, project.sent())
            yield lambda number, share: executor.submit(Received.examine, held, number, share)

    @contextmanager
    def connected(self) -> Iterator[tuple[Executor, Callable[..., Any]]]:
        """An executor, and what makes something that many calls are given: a task, not a value."""
        try:
            from distributed import Client
        except ImportError:
            raise InputError("--executor dask: needs the extra `cluster`") from None
        try:
            client: Any = Client(self.scheduler, timeout=CLUSTER_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise InputError(f"{self.scheduler}: no Dask scheduler answers there: {error}") from error
        with client:
            if not client.scheduler_info()["workers"]:
                raise InputError(f"{self.scheduler}: the cluster has no worker")
            executor = client.get_executor(pure=False)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of a large graph: what is held is as large as it is
                    yield executor, partial(client.submit, pure=False)
            finally:
                executor.shutdown(wait=False)


def workers_of(text: str) -> Workers:
    """``processes:N`` or ``dask:SCHEDULER``. Raises `InputError`."""
    kind, _, rest = text.partition(":")
    if kind == "processes" and rest.isdecimal() and int(rest) > 0:
        return Processes(int(rest))
    if kind == "dask" and rest:
        return Dask(rest)
    raise InputError(f"--executor {text}: is neither processes:N nor dask:SCHEDULER")
