"""One thread for the analysis, whose work is given up when it is not needed any more."""

from __future__ import annotations

import asyncio
import ctypes
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_Result = TypeVar("_Result")


class GivenUp(BaseException):
    """What was computed is not needed any more. No `Exception`, so that the analysis does not handle it."""


class Worker:
    """Runs one function after the other, beside the conversation with the editor.

    One thread, for the analysis sets the interpreter's recursion limit.
    """

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1)
        self._lock = threading.Lock()
        self._running: tuple[object, int] | None = None

    async def run(self, about: object, function: Callable[[], _Result]) -> _Result:
        """What ``function`` returns. Raises `asyncio.CancelledError` after `give_up` of ``about``."""
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._executor, lambda: self._run(about, function)
            )
        except GivenUp:
            raise asyncio.CancelledError from None

    def give_up(self, about: object) -> None:
        """End what runs now, if it is about this."""
        with self._lock:
            if self._running is not None and self._running[0] == about:
                # As Ctrl-C ends what a main thread does: after the step of Python that runs now.
                thread = ctypes.c_ulong(self._running[1])
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(GivenUp))
                self._running = None

    def _run(self, about: object, function: Callable[[], _Result]) -> _Result:
        with self._lock:
            self._running = (about, threading.get_ident())
        try:
            return function()
        finally:
            # Nothing may reach the thread after this: it belongs to whatever runs next.
            with self._lock:
                self._running = None
            for _ in range(2):  # where Python looks for what was sent to the thread
                pass
