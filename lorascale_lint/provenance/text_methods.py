"""Methods of texts."""

from __future__ import annotations

from collections.abc import Mapping
from string import Formatter
from typing import Any

from lorascale_lint.knowledge.roles import key_role
from lorascale_lint.provenance import keys
from lorascale_lint.provenance.literals import method
from lorascale_lint.provenance.lookups import as_text
from lorascale_lint.provenance.machine import Machine
from lorascale_lint.provenance.values import UNKNOWN, Const, Hole, Text, Tup, Value


def of_text(
    m: Machine, text: Text, name: str, args: list[Value], named: Mapping[str, Value] | None = None
) -> Value:
    if text.literal is not None and (made := method(m, text.literal, name, args)) is not None:
        return made
    words = [value.literal if isinstance(value, Text) else None for value in args]
    word = words[0] if words else None
    match name:
        case "replace" if len(words) >= 2 and word is not None and words[1] is not None:
            return keys.replaced(text, word, words[1])
        case "removesuffix" | "rstrip" if word:
            return keys.without_end(text, word)
        case "removeprefix" | "lstrip" if word:
            return keys.without_start(text, word)
        case "split" | "rsplit" if word:
            first, rest = keys.before(text, word), keys.after(text, word)
            return (
                Tup((first, rest))
                if _plain_split(text, word)
                else m.new_list([first, rest], True)
                if len(word) < 3
                else Tup((first, rest))
            )
        case "partition" | "rpartition" if word:
            return Tup((keys.before(text, word), Text((word,)), keys.after(text, word)))
        case "endswith" | "startswith":
            if args and isinstance(args[0], Tup):
                found = [
                    _ends(text, item.literal, name)
                    for item in args[0].items
                    if isinstance(item, Text) and item.literal
                ]
                known = True if True in found else None if None in found else False
            else:
                known = _ends(text, word, name) if word else None
            return UNKNOWN if known is None else Const(known)
        case "join":
            held = m.elements(args[0]) if args else None
            if held is None or held[1]:
                return keys.derived(text, "join", str(args))
            parts: list[Any] = []
            for index, value in enumerate(held[0]):
                parts += [*(text.parts if index else ()), *as_text(m, value).parts]
            return keys.text_of(parts)
        case "format":
            made = _formatted(m, text, args, named or {})
            return keys.derived(text, "format", str(args)) if made is None else made
        case "lower" | "upper" | "strip" | "encode" | "decode" | "title" | "casefold":
            return text if name in ("strip", "encode", "decode") else _changed(text, name)
        case _:
            return UNKNOWN


def _formatted(m: Machine, text: Text, args: list[Value], named: Mapping[str, Value]) -> Text | None:
    """``"{}.alpha".format(name)``: the pieces in between, and what is put into them."""
    try:
        pieces = list(Formatter().parse(text.literal)) if text.literal is not None else []
    except ValueError:
        return None
    parts: list[Any] = []
    for index, (before, field, _, _) in enumerate(pieces):
        parts.append(before)
        if field is None:
            continue
        place = int(field) if field.isdecimal() else index
        by_place = args[place] if place < len(args) else None
        value = named.get(field) if field and not field.isdecimal() else by_place
        parts += [Hole(f"format {field}")] if value is None else as_text(m, value).parts
    return keys.text_of(parts) if pieces else None


def _changed(text: Text, name: str) -> Text:
    return Text(tuple(getattr(p, name)() if isinstance(p, str) else p for p in text.parts))


def _plain_split(text: Text, word: str) -> bool:
    return len(word) > 2


def _ends(text: Text, word: str | None, name: str) -> bool | None:
    if not word or not text.parts:
        return None
    end = text.parts[-1] if name == "endswith" else text.parts[0]
    if isinstance(end, str):
        if getattr(end, name)(word):
            return True
        if len(end) >= len(word) or len(text.parts) == 1:
            return False
    elif any(word in known or (known in word and known == word) for known in end.has):
        return True
    elif any(key_role(known) and key_role(word) and key_role(known) != key_role(word) for known in end.has):
        return False
    return None
