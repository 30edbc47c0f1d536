"""The parts of the path of a place, or of a number's origin: ``config.lora[alpha]``."""

from __future__ import annotations


def root_of(path: str) -> str:
    """The name that it begins with: ``config``."""
    return path.partition(".")[0].partition("[")[0]


def owner_of(path: str) -> str:
    """What the field or entry is of: ``config.lora``; empty for a bare name."""
    return path.rpartition("[")[0] if path.endswith("]") else path.rpartition(".")[0]


def last_of(path: str) -> str:
    """The name of the field or entry, or the bare name: ``alpha``."""
    return path.removesuffix("]").rpartition("[")[2].rpartition(".")[2]
