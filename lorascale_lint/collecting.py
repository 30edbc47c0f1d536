"""How often Python looks for garbage while code is followed."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_THRESHOLDS = (50_000, 20, 20)
"""Objects made before the young are looked at, and how often that is done before the older ones are.

Trees, values and entries live as long as the run; by default a fifth of it went into looking at them again.
"""


@contextmanager
def rarely_collected() -> Iterator[None]:
    """Look for garbage rarely."""
    before = gc.get_threshold()
    gc.set_threshold(*_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
