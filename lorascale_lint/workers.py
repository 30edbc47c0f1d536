"""A pool of processes that can import nothing of the linted project, and of which each may die.

The standard library's pools start their processes with the working directory on the import path, and are
broken by the first process that dies. Here a process starts isolated (``-I -S``), is told the folders to
import from, and is asked one thing at a time through its pipes. Who dies or takes too long costs the call
that it was busy with, and is replaced.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from queue import SimpleQueue
from threading import Timer
from typing import Any, BinaryIO

from lorascale_lint import __file__ as _program
from lorascale_lint.isolation import trusted_path

_BOOT = """
import sys
root, sys.path[:] = sys.argv[1], sys.path + sys.argv[2:]
from importlib.util import module_from_spec, spec_from_file_location
spec = spec_from_file_location("lorascale_lint", root + "/__init__.py", submodule_search_locations=[root])
package = sys.modules["lorascale_lint"] = module_from_spec(spec)
spec.loader.exec_module(package)
from lorascale_lint.workers import serve
serve()
"""
_LENGTH = struct.Struct("<Q")


class WorkerDied(Exception):
    """The process ended, or was ended, before it answered; the text says how."""


class WorkerPool(Executor):
    """Calls importable functions in ``workers`` isolated processes, started when they are needed.

    ``seconds`` is how long one call may take. A call's future raises `WorkerDied` if its process ends.
    """

    def __init__(self, workers: int, seconds: float) -> None:
        self._seconds = seconds
        self._threads = ThreadPoolExecutor(workers)
        self._idle: SimpleQueue[_Worker | None] = SimpleQueue()
        self._all: list[_Worker] = []
        for _ in range(workers):
            self._idle.put(None)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self._threads.submit(self._call, fn, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As of any executor; processes that are busy are ended if futures are to be cancelled."""
        if cancel_futures:
            self._threads.shutdown(wait=False, cancel_futures=True)
            for worker in self._all:
                worker.end()
        self._threads.shutdown(wait=wait)
        for worker in self._all:
            worker.end()

    def __exit__(self, kind: object, *_: object) -> None:
        self.shutdown(cancel_futures=kind is not None)

    def _call(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        worker = self._idle.get()  # as many as there are threads
        try:
            if worker is None:
                worker = _Worker()
                self._all.append(worker)
            returned, value = worker.ask((fn, args, kwargs), self._seconds)
        except WorkerDied:
            worker = None
            raise
        finally:
            self._idle.put(worker)
        if returned:
            return value
        raise value


class _Worker:
    """One process and its pipes."""

    def __init__(self) -> None:
        root = os.path.dirname(os.path.abspath(_program))
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-S",
                "-c",
                _BOOT,
                root,
                *trusted_path(sys.path),
            ],  # -S: no `.pth` file either
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=root,  # Windows looks for libraries there
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin: BinaryIO = self._process.stdin  # type: ignore[assignment]
        self._stdout: BinaryIO = self._process.stdout  # type: ignore[assignment]
        self._late = False

    def ask(self, call: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]], seconds: float) -> Any:
        """Raises `WorkerDied`."""
        timer = Timer(seconds, self._give_up)
        timer.daemon = True
        timer.start()
        try:
            _send(self._stdin, call)
            return _receive(self._stdout)
        except (EOFError, OSError) as error:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5)  # what it ends with says why
            self.end()
            raise WorkerDied(self._cause(seconds)) from error
        finally:
            timer.cancel()

    def end(self) -> None:
        """End the process whatever it does."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._stdin, self._stdout):
            with contextlib.suppress(OSError):
                pipe.close()

    def _give_up(self) -> None:
        self._late = True
        self._process.kill()

    def _cause(self, seconds: float) -> str:
        if self._late:
            return f"not done after {seconds:g} s"
        code = self._process.returncode
        return f"its process ended with signal {-code}" if code < 0 else f"its process ended with code {code}"


def serve() -> None:
    """What a worker does until its pipe is closed, as it is when the process that started it ends."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent alone ends the run
    with open(os.dup(0), "rb") as requests, open(os.dup(1), "wb") as answers:
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(nothing, 1)
        with contextlib.suppress(EOFError):
            while True:
                request = _frame(requests)
                try:
                    fn, args, kwargs = pickle.loads(request)
                    answer = True, fn(*args, **kwargs)
                except Exception as error:
                    answer = False, error
                _send(answers, answer)


def _send(stream: BinaryIO, value: object) -> None:
    data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def _receive(stream: BinaryIO) -> Any:
    """Raises EOFError."""
    return pickle.loads(_frame(stream))


def _frame(stream: BinaryIO) -> bytes:
    """Raises EOFError."""
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    return _exactly(stream, length)


def _exactly(stream: BinaryIO, length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        raise EOFError
    return data
