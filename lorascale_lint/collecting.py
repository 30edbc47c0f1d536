"""How often Python looks for garbage while code is followed."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_THRESHOLDS = (500_000, 10, 10)
"""Objects made before the young are looked at, and how often that is done before the older ones are.

Trees, values and entries live as long as the run, and hardly anything is garbage: half a million objects are
some 50 MB. By default a fifth of a run went into looking at them again.
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
