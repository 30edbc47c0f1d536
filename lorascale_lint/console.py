"""Standard output and standard error: warnings, progress, and a reader that goes away early."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import TextIO

from lorascale_lint.errors import InputError

_REDRAW_SECONDS = 0.1


class OutputError(InputError):
    """What was found could not be written."""


class Console:
    """Where a command writes. ``quiet`` leaves only findings and errors."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self._progress = not quiet and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._progress_shown = ""
        self._progress_drawn = -_REDRAW_SECONDS
        for stream in (sys.stdout, sys.stderr):
            # A source line may hold characters that the terminal's encoding lacks.
            if reconfigure := getattr(stream, "reconfigure", None):
                reconfigure(errors="backslashreplace")

    def out(self, content: str | bytes) -> None:
        """Write to standard output; bytes go out as they are.

        When nobody reads it any more (``| head``) the rest is dropped, and the exit code stays true. Raises
        `OutputError` where it can't be written.
        """
        self.clear_progress()
        try:
            _write(sys.stdout, content)
        except OSError as error:
            raise OutputError(f"cannot write to standard output: {error.strerror}") from error

    def note(self, text: str) -> None:
        """Something worth knowing, for standard error."""
        if not self.quiet:
            self.error_text(text)

    def warning(self, text: str) -> None:
        """One line that is not an error."""
        self.note(f"warning: {text}\n")

    def error(self, text: str) -> None:
        """One line about something that could not be done."""
        self.error_text(f"error: {text}\n")

    def error_text(self, text: str) -> None:
        """Write to standard error, also when quiet."""
        self.clear_progress()
        complain(text)

    def progress(self, done: int, total: int) -> None:
        """Show how far a check of many files is, on a terminal only."""
        if total > 1:
            self.step(f"Checked {done} of {total} files")

    def step(self, text: str) -> None:
        """Show what is being done, in place of the last step, on a terminal only."""
        now = time.monotonic()
        if self._progress and now - self._progress_drawn >= _REDRAW_SECONDS:
            self._progress_drawn = now
            complain("\r" + text.ljust(len(self._progress_shown)))
            self._progress_shown = text

    def clear_progress(self) -> None:
        """Remove the progress line."""
        if self._progress_shown:
            complain("\r" + " " * len(self._progress_shown) + "\r")
            self._progress_shown = ""


def open_missing() -> None:
    """Open what was closed before the start, so that no file gets the number of a standard stream.

    Nobody reads what is written there, as with `/dev/null`; standard input stays None.
    """
    if sys.stdin is None:
        os.open(os.devnull, os.O_RDONLY)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115


def complain(text: str) -> None:
    """Write to standard error; where nobody can read that, the exit code has to say it."""
    with contextlib.suppress(OSError):
        _write(sys.stderr, text)


def discard(stream: TextIO) -> None:
    """Let the rest of ``stream`` go nowhere: Python flushes it at exit, which must not fail a second time."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _write(stream: TextIO, content: str | bytes) -> None:
    """Raises OSError."""
    try:
        if isinstance(content, bytes):
            stream.flush()
            stream.buffer.write(content)
        else:
            stream.write(content)
        stream.flush()
    except OSError as error:
        discard(stream)
        if not isinstance(error, BrokenPipeError):
            raise
