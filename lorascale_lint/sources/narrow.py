"""Blank out the functions that can't matter, so that LibCST (0.2 MB/s with positions) parses little.

The standard library's parser (6 MB/s) finds the spans. A function matters if it has a LoRA word, or
if a function that matters in the same file names it. Line and column of what stays do not change.
"""

from __future__ import annotations

import ast
import re
import warnings

_MATTERS = re.compile(r"(?i)lora|lokr|loha|alpha|scal(e|ing)|rank|adapter|hada_|factor|delta|\bup\b|\bdown\b")
_NAME = re.compile(r"[A-Za-z_]\w*")


class NestedTooDeeply(Exception):
    """LibCST's native parser would overflow the stack on such a text, so it must not see it."""


def syntax_error(text: str) -> SyntaxError | None:
    """What the standard library has against ``text``; None if it can parse it."""
    try:
        _parse(text)
    except SyntaxError as error:
        return error
    return None


def _parse(text: str) -> ast.Module:
    """Raises SyntaxError (also for null bytes) and NestedTooDeeply."""
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


def narrow(text: str) -> str:
    """``text`` with the bodies of functions that can't matter replaced by ``...``.

    Returns ``text`` itself if the standard library can't parse it (a newer syntax than this Python's).

    Raises:
        NestedTooDeeply: no parser can be trusted with it.
    """
    try:
        tree = _parse(text)
    except SyntaxError:
        return text
    lines = re.split(r"(?<=\n)|(?<=\r)(?!\n)", text)
    if len(text.splitlines()) > len(lines):  # form feeds and the like: rows would not agree
        return text
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    outermost = _outermost(functions)
    bodies = {id(node): "".join(lines[node.lineno - 1 : node.end_lineno]) for node in outermost}
    kept = {id(node) for node in outermost if _MATTERS.search(bodies[id(node)])}
    for _ in range(3):
        named = {name for key in kept for name in _NAME.findall(bodies[key])}
        kept |= {id(node) for node in outermost if node.name in named}
    for node in outermost:
        if id(node) not in kept:
            _blank(lines, node)
    return "".join(lines)


def _outermost(
    functions: list[ast.FunctionDef | ast.AsyncFunctionDef],
) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Functions that lie in no other function."""
    found: list[ast.FunctionDef | ast.AsyncFunctionDef] = []
    end = 0
    for node in sorted(functions, key=lambda item: item.lineno):
        if node.lineno > end:
            found.append(node)
            end = node.end_lineno or node.lineno
    return found


def _blank(lines: list[str], node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    first = node.body[0]
    decorators = getattr(first, "decorator_list", [])  # a decorated definition starts above its `def`
    start = min([first.lineno, *(decorator.lineno for decorator in decorators)])
    end = node.end_lineno or first.lineno
    header_end = max(
        [
            node.lineno,
            *(
                argument.end_lineno or 0
                for argument in ast.walk(node.args)
                if hasattr(argument, "end_lineno")
            ),
        ]
    )
    if start <= header_end or (node.returns is not None and start <= (node.returns.end_lineno or 0)):
        return  # body on the header's line
    indent = lines[start - 1][: first.col_offset]
    if indent.strip():
        return
    for row in range(start - 1, end):
        line = lines[row]
        ending = line[len(line.rstrip("\r\n")) :]
        lines[row] = (f"{indent}..." if row == start - 1 else "") + ending
