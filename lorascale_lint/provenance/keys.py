"""Texts that are partly known: keys of adapter files as they are cut, joined and looked up."""

from __future__ import annotations

from typing import Any
from zlib import crc32

from lorascale_lint.bounds import NAME_LIMIT, PART_LIMIT, PARTS_IN_A_NAME, PIECE_LIMIT, WORD_LIMIT
from lorascale_lint.knowledge.roles import key_role
from lorascale_lint.provenance.values import Hole, Text


def text_of(parts: list[str | Hole]) -> Text:
    """A text of ``parts``, neighbours joined."""
    joined: list[str | Hole] = []
    for part in parts:
        if part == "":
            continue
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        else:
            joined.append(part)
    if len(joined) > PART_LIMIT or any(isinstance(part, str) and len(part) > PIECE_LIMIT for part in joined):
        return Text(
            (Hole(short_name(tuple(joined[:PARTS_IN_A_NAME]), len(joined))),)
        )  # doubled in each row, say
    return Text(tuple(joined))


def derived(text: Text, *operation: Any, has: frozenset[str] = frozenset()) -> Text:
    """What an operation makes of a text that is not known: the same text, the same result."""
    roots = [part.root or part.name for part in text.parts if isinstance(part, Hole)]
    return Text((Hole(short_name(text.parts, *operation), has, roots[0] if len(roots) == 1 else None),))


def short_name(*parts: Any) -> Any:
    """A short name for how a text came about: names inside names would grow with every step."""
    whole = repr(parts)
    return (
        whole
        if len(whole) <= NAME_LIMIT
        else f"{whole[: NAME_LIMIT - 20]}~{crc32(whole.encode(errors='replace')):08x}"
    )


def role_in(text: Text) -> str | None:
    """The role of what stands under this key."""
    pieces = "\0".join(part if isinstance(part, str) else "" for part in text.parts)
    known = key_role(pieces.replace("\0", "*"))
    if known is not None:
        return known
    for part in text.parts:
        if isinstance(part, Hole):
            roles = {role for word in part.has if (role := key_role(word)) is not None}
            if len(roles) == 1:
                return roles.pop()
    return None


def contains(text: Text, word: str) -> bool | None:
    """Does the text hold ``word``? None if that is not known."""
    if any(isinstance(part, str) and word in part for part in text.parts):
        return True
    if text.literal is not None:
        return word in text.literal
    if any(isinstance(part, Hole) and any(word in known for known in part.has) for part in text.parts):
        return True
    return None


def with_word(text: Text, word: str) -> Text:
    """The text where it is known to hold ``word``: the first hole gets it."""
    parts: list[str | Hole] = list(text.parts)
    for index, part in enumerate(parts):
        if isinstance(part, Hole):
            parts[index] = Hole(part.name, part.has | {word}, part.root)
            break
    return Text(tuple(parts))


def replaced(text: Text, old: str, new: str) -> Text:
    """``text.replace(old, new)``."""
    if not old:
        return text
    if len(new) > WORD_LIMIT:
        return derived(text, "replace", old, len(new))
    parts: list[str | Hole] = []
    for part in text.parts:
        if isinstance(part, str):
            parts.append(part.replace(old, new))
            continue
        if not any(old in word for word in part.has) and any(
            old in item for item in text.parts if isinstance(item, str)
        ):
            parts.append(part)
            continue
        # A known word inside `old` goes with it: `lora_down` where `lora_down.weight` is replaced.
        has = {word.replace(old, new) for word in part.has if word not in old}
        has = {word for word in has if len(word) <= WORD_LIMIT}
        if key_role(new) and any(old in word or word in old for word in part.has):
            has.add(new)
        parts.append(Hole(short_name(part.name, "replace", old, new), frozenset(has)))
    return text_of(parts)


def before(text: Text, word: str) -> Text:
    """What stands before the first ``word``."""
    for index, part in enumerate(text.parts):
        if isinstance(part, str) and word in part:
            return text_of([*text.parts[:index], part.partition(word)[0]])
        if isinstance(part, Hole) and any(word in known for known in part.has):
            return text_of(
                [
                    *text.parts[:index],
                    Hole(short_name(part.name, "before", word), root=part.root or part.name),
                ]
            )
    return derived(_bare(text), "before", word)


def after(text: Text, word: str) -> Text:
    """What stands behind the first ``word``."""
    for index, part in enumerate(text.parts):
        if isinstance(part, str) and word in part:
            return text_of([part.partition(word)[2], *text.parts[index + 1 :]])
    return derived(_bare(text), "after", word)


def without_end(text: Text, word: str) -> Text:
    """``text.removesuffix(word)``."""
    if text.parts and isinstance(text.parts[-1], str):
        last = text.parts[-1]
        return text_of([*text.parts[:-1], last.removesuffix(word)])
    if text.parts and isinstance(text.parts[-1], Hole):
        part = text.parts[-1]
        return text_of(
            [*text.parts[:-1], Hole(short_name(part.name, "before", word), root=part.root or part.name)]
        )
    return text


def without_start(text: Text, word: str) -> Text:
    """``text.removeprefix(word)``."""
    if text.parts and isinstance(text.parts[0], str):
        return text_of([text.parts[0].removeprefix(word), *text.parts[1:]])
    if text.parts and isinstance(text.parts[0], Hole):
        part = text.parts[0]
        return text_of(
            [
                Hole(short_name(part.name, "without start", word), part.has, part.root or part.name),
                *text.parts[1:],
            ]
        )
    return text


def _bare(text: Text) -> Text:
    return Text(
        tuple(part if isinstance(part, str) else Hole(part.name, root=part.root) for part in text.parts)
    )


def may_equal(one: Text, two: Text) -> bool | None:
    """Can two texts be the same? True: they are; False: they can't; None: perhaps."""
    if _bare(one) == _bare(two):
        return True
    left, right = one.literal, two.literal
    if left is not None and right is not None:
        return left == right
    ends = [text.parts[-1] if text.parts and isinstance(text.parts[-1], str) else "" for text in (one, two)]
    if ends[0] and ends[1] and not (ends[0].endswith(ends[1]) or ends[1].endswith(ends[0])):
        return False
    roles = role_in(one), role_in(two)
    if all(roles) and roles[0] != roles[1]:
        return False
    return None


def is_any(key: object) -> bool:
    """Is nothing at all known of the text?"""
    return isinstance(key, Text) and len(key.parts) == 1 and isinstance(key.parts[0], Hole)
