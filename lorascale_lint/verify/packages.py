"""Packages that code cannot do without, and what to say where they are missing."""

from __future__ import annotations

import importlib.util
import sys

from lorascale_lint.verify.registry import Requirement
from lorascale_lint.verify.report import Problem


def missing_of(requirements: tuple[Requirement, ...]) -> list[Requirement]:
    """Those that cannot be imported here."""
    return [item for item in requirements if importlib.util.find_spec(item.module) is None]


def packages_problem(missing: list[Requirement]) -> Problem:
    """How to get them."""
    names = " ".join(sorted({item.package for item in missing}))
    return Problem(
        3,
        f"The target cannot be run, packages are missing: {names.replace(' ', ', ')}. "
        f"Install them with: {sys.executable} -m pip install {names}",
    )
