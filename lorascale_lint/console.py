"""Standard output and standard error: warnings, progress, and a reader that goes away early."""

from __future__ import annotations

import os
import sys
import time
from typing import TextIO

_REDRAW_SECONDS = 0.1


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

        When nobody reads it any more (``| head``) the rest is dropped, and the exit code stays true.
        """
        self.clear_progress()
        _write(sys.stdout, content)

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
        _write(sys.stderr, text)

    def progress(self, done: int, total: int) -> None:
        """Show how far a check of many files is, on a terminal only."""
        if total > 1:
            self.step(f"Checked {done} of {total} files")

    def step(self, text: str) -> None:
        """Show what is being done, in place of the last step, on a terminal only."""
        now = time.monotonic()
        if self._progress and now - self._progress_drawn >= _REDRAW_SECONDS:
            self._progress_drawn = now
            _write(sys.stderr, "\r" + text.ljust(len(self._progress_shown)))
            self._progress_shown = text

    def clear_progress(self) -> None:
        """Remove the progress line."""
        if self._progress_shown:
            _write(sys.stderr, "\r" + " " * len(self._progress_shown) + "\r")
            self._progress_shown = ""


def _write(stream: TextIO, content: str | bytes) -> None:
    try:
        if isinstance(content, bytes):
            stream.flush()
            stream.buffer.write(content)
        else:
            stream.write(content)
        stream.flush()
    except BrokenPipeError:
        # Python flushes again at exit; that must not fail a second time.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
