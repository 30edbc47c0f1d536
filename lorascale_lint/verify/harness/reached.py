"""Which rows of a project are executed while a question is answered."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

# Rows that are told of one question.
_MOST = 5_000


@contextmanager
def reached_rows(root: Path) -> Iterator[set[str]]:
    """Collect ``file:row`` of what is executed below `root`, with the file relative to it.

    A tracer that is there already (of a debugger) stays, and nothing is collected.
    """
    found: set[str] = set()
    if sys.gettrace() is not None:
        yield found
        return
    above = f"{root if root.is_dir() else root.parent}/"
    names: dict[str, str] = {}

    def relative(filename: str) -> str:
        if filename not in names:
            real = str(Path(filename).resolve())
            names[filename] = real.removeprefix(above) if real.startswith(above) else ""
        return names[filename]

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        name = relative(frame.f_code.co_filename)
        if not name or len(found) >= _MOST:
            return None
        found.add(f"{name}:{frame.f_lineno}")
        return trace

    sys.settrace(trace)
    try:
        yield found
    finally:
        sys.settrace(None)
