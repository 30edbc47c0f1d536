"""Codemods run when their fix is asked for, and not when a rule names them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from lorascale_lint.findings import Fix, Repair

P = ParamSpec("P")


def repair(codemod: Callable[P, Fix | None]) -> Callable[P, Repair]:
    """Let a call of ``codemod`` give the `Repair` that runs it.

    A file that LibCST can't read as a whole, though it could read the functions that matter, has no repair.
    """

    @wraps(codemod)
    def later(*args: P.args, **options: P.kwargs) -> Repair:
        def run() -> Fix | None:
            import libcst as cst

            try:
                return codemod(*args, **options)
            except (cst.ParserSyntaxError, RecursionError):
                return None

        return run

    return later


def first_of(*repairs: Repair | None) -> Repair:
    """The first of several repairs that understands the code."""

    def run() -> Fix | None:
        fixes = (made() for made in repairs if made is not None)
        return next((fix for fix in fixes if fix is not None), None)

    return run
