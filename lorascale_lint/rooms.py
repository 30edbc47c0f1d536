"""Room for the frames that deep code takes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from lorascale_lint.bounds import FRAMES


@contextmanager
def room() -> Iterator[None]:
    """Room for the frames that a deep expression takes, where it is followed and where it is written out."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, FRAMES))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
