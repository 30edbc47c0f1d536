"""The standard library's parser, and rows as it counts them."""

from __future__ import annotations

import ast
import re
import warnings

_ROW = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")


class NestedTooDeeply(Exception):
    """A text is nested too deeply for a parser."""


def rows_of(text: str) -> list[str]:
    """The rows of ``text`` as Python counts them, each with its end."""
    return _ROW.findall(text)


def parse(text: str) -> ast.Module:
    """The standard library's tree. Raises SyntaxError (also for null bytes) and `NestedTooDeeply`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except (RecursionError, MemoryError) as error:
        raise NestedTooDeeply from error
    except SyntaxError as error:
        if "too many nested" in str(error):
            raise NestedTooDeeply from error
        raise
    except ValueError as error:  # null bytes, before Python 3.12
        raise SyntaxError(str(error)) from error
