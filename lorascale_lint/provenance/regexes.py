"""Regular expressions on texts: run where both are known, and never for long."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable

from lorascale_lint.bounds import TEXT_LIMIT
from lorascale_lint.knowledge.foreign_patterns import compiled
from lorascale_lint.provenance import keys
from lorascale_lint.provenance.literals import plain_of, value_of
from lorascale_lint.provenance.machine import Machine
from lorascale_lint.provenance.modules import opaque
from lorascale_lint.provenance.values import NONE, UNKNOWN, Closure, Matched, Regex, Text, Value

REGEX_FUNCTIONS = ("sub", "match", "search", "fullmatch", "compile", "split", "findall")

Function = Callable[[Machine, list[Value], dict[str, Value], "ast.Call | None"], Value]


def of_module(name: str) -> Function:
    """``re.match(pattern, text)`` and the like, by the name of the function."""

    def run(m: Machine, args: list[Value], named: dict[str, Value], node: ast.Call | None) -> Value:
        made = _of_module(m, name, args, named)
        if made is None and name == "sub":
            made = substituted(args)
        return opaque(m, f"re.{name}", args, list(named.items())) if made is None else made

    return run


def _of_module(m: Machine, name: str, args: list[Value], named: dict[str, Value]) -> Value | None:
    order = ("pattern", "repl", "string", "count") if name in ("sub", "subn") else ("pattern", "string")
    given = [*args, *(named[key] for key in order[len(args) :] if key in named)]
    first = given[0] if given else UNKNOWN
    regex = first if isinstance(first, Regex) else None
    if isinstance(first, Text) and first.literal is not None:
        regex = Regex(first.literal)
    if regex is None or "flags" in named or (name == "compile" and len(args) > 1):
        return None
    if name == "compile":
        return regex if compiled(regex.pattern) is not None else None
    return of_pattern(m, regex, name, given[1:])


def of_pattern(m: Machine, regex: Regex, name: str, args: list[Value]) -> Value | None:
    """A method of a compiled pattern."""
    pattern = compiled(regex.pattern, regex.flags)
    if name == "sub" and pattern is not None and args and isinstance(args[0], Closure):
        return _by_function(m, pattern, args)
    texts = [plain_of(value) for value in args]
    if pattern is None or not texts or any(text is None or text == "" for text in texts[:1]):
        return None
    if any(
        not isinstance(text, str | int) or (isinstance(text, str) and len(text) > TEXT_LIMIT)
        for text in texts
    ):
        return None
    try:
        match name, texts:
            case ("match" | "search" | "fullmatch", [str() as text]):
                return _matched(getattr(pattern, name)(text))
            case ("sub", [str() as new, str() as text, *_]):
                return value_of(m, pattern.sub(new, text))
            case ("findall", [str() as text]):
                return value_of(m, pattern.findall(text))
            case ("split", [str() as text, *_]):
                return value_of(m, pattern.split(text))
            case _:
                return None
    except (re.error, IndexError):
        return None


def _by_function(m: Machine, pattern: re.Pattern[str], args: list[Value]) -> Value | None:
    """``pattern.sub(function, text)``: the function is called with each match."""
    text = plain_of(args[1]) if len(args) == 2 else None
    if not isinstance(text, str) or len(text) > TEXT_LIMIT:
        return None
    made, at = "", 0
    for found in pattern.finditer(text):
        given = plain_of(m.call(args[0], [_matched(found)], [], None))
        if not isinstance(given, str):
            return None
        made, at = made + text[at : found.start()] + given, found.end()
    return value_of(m, made + text[at:])


def _matched(found: re.Match[str] | None) -> Value:
    if found is None:
        return NONE
    whole = (found.group(0), *found.groups())
    spans = tuple(found.span(index) for index in range(len(whole)))
    return Matched(whole, tuple(found.re.groupindex.items()), spans)


def substituted(args: list[Value]) -> Value:
    """``re.sub`` on a text that is partly known."""
    match args:
        case [Text(literal=pattern), Text(literal=new), Text() as text, *_]:
            pass
        case _:
            return UNKNOWN
    if pattern is None or new is None:
        return keys.derived(text, "sub", str(args[:2]))
    regex = compiled(pattern)
    if regex is None:
        return keys.derived(text, "sub", pattern, new)
    plain = re.sub(r"\\([.\-_])", r"\1", pattern).removesuffix("$").removeprefix("^")
    if re.fullmatch(r"[\w.\-]*", plain) and "\\" not in new:
        return keys.replaced(text, plain, new)
    try:
        parts = [regex.sub(new, part) if isinstance(part, str) else part for part in text.parts]
    except (re.error, IndexError):
        return UNKNOWN
    return keys.derived(keys.text_of(parts), "sub", pattern, new)
