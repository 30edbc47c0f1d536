"""How many random examples a test takes."""

from __future__ import annotations

from hypothesis import settings

_USUAL = 100


def examples(most: int) -> int:
    """As many with ``--slow``, else a quarter of them, as of tests that name no number (``conftest``)."""
    return max(1, most * settings().max_examples // _USUAL)
