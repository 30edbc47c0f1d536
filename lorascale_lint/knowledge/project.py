"""Words and interfaces that a project adds to the tables; they come before those that are built in."""

from __future__ import annotations

from collections.abc import Iterable

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge import interfaces, roles
from lorascale_lint.knowledge.interfaces import StrengthArgument


@immutable(frozen=True, slots=True)
class Words:
    """Identifiers with their roles, and arguments of libraries that are strengths."""

    roles: tuple[tuple[str, str], ...] = ()
    strength_arguments: tuple[StrengthArgument, ...] = ()


def joined(several: Iterable[Words]) -> Words:
    """The words of several projects; where they give a name two roles, the first one holds."""
    found: dict[str, str] = {}
    arguments: dict[StrengthArgument, None] = {}
    for words in several:
        for name, role in words.roles:
            found.setdefault(name, role)
        arguments.update(dict.fromkeys(words.strength_arguments))
    return Words(tuple(sorted(found.items())), tuple(arguments))


_in_force = Words()


def use(words: Words) -> None:
    """From now on code is read with these words, and with no others that a project added."""
    global _in_force
    if words != _in_force:
        _in_force = words
        roles.add(dict(words.roles))
        interfaces.add(words.strength_arguments)


def in_force() -> Words:
    """The words that code is read with."""
    return _in_force
