"""What all ways share: their table, and how roles are written as arguments, entries and names."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.generated.code import Block, Roles

Way = Callable[[Block, Roles], Roles]
WAYS: dict[str, Way] = {}


def way(name: str) -> Callable[[Way], Way]:
    """Enter a function under the name that the table of results shows."""

    def entered(function: Way) -> Way:
        WAYS[name] = function
        return function

    return entered


def listed(roles: Roles) -> str:
    """The values, separated by commas."""
    return ", ".join(roles.values())


def local_names(block: Block, roles: Roles) -> Roles:
    """The name of a local variable for each role."""
    return {role: block.local(role) for role in roles}


def entries(block: Block, roles: Roles) -> str:
    """Entries of a dictionary display."""
    return ", ".join(f'"{block.project.word(role)}": {value}' for role, value in roles.items())


def given(block: Block, roles: Roles) -> str:
    """Keyword arguments."""
    return ", ".join(f"{block.project.word(role)}={value}" for role, value in roles.items())


def read(block: Block, pack: str, roles: Roles, pattern: str = '{pack}["{key}"]') -> Roles:
    """How the values are read out of ``pack``."""
    return {role: pattern.format(pack=pack, key=block.project.word(role)) for role in roles}
