"""The error that ends a run with one line on stderr and exit code 2."""

from __future__ import annotations


class InputError(Exception):
    """A path, option or setting that can't be used; the text says which and why."""
