"""Signals that would end the process wait while files are being replaced."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class Interrupted(Exception):
    """A signal came, and the work that it should end has stopped at a place where nothing is half done."""


@contextmanager
def deferred_signals() -> Iterator[Callable[[], None]]:
    """Hold SIGINT, SIGTERM and SIGHUP back, and let them act when the block is left.

    The block is given a function for the places where it can stop: it raises `Interrupted` if a signal
    waits. A signal that the process ignores (``nohup``) stays ignored. Only the main thread can do this;
    elsewhere signals act as ever.
    """
    waiting: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        waiting.append(number)

    def stop_here() -> None:
        if waiting:
            raise Interrupted(signal.Signals(waiting[0]).name)

    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (getattr(signal, name) for name in _NAMES if hasattr(signal, name)):
            handler = signal.getsignal(number)
            if handler not in (signal.SIG_IGN, None):  # None: not installed from Python, can't be put back
                before[number] = handler
                signal.signal(number, note)
    try:
        yield stop_here
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if waiting:
            signal.raise_signal(waiting[0])
