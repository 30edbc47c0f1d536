"""The parts of a LibCST node, without the copies that ``node.children`` makes of all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from functools import cache

import libcst as cst

_LAYOUT = (
    "whitespace",
    "leading_lines",
    "lines_after",
    "trailing_",
    "header",
    "footer",
    "lpar",
    "rpar",
    "indent",
)


def parts(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """The nodes directly below ``node`` that are code, in no order."""
    for name in _code_fields(type(node)):
        value = getattr(node, name)
        if isinstance(value, cst.CSTNode):
            yield value
        elif isinstance(value, list | tuple):
            for item in value:
                if isinstance(item, cst.CSTNode):
                    yield item


@cache
def _code_fields(kind: type[cst.CSTNode]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind) if not field.name.startswith(_LAYOUT))
