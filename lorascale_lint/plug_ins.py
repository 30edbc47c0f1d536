"""Rules of other installed packages: entry points of the group `lorascale_lint.rules`."""

from __future__ import annotations

import hashlib
import inspect
import os
import re
import sys
from collections.abc import Iterable, Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from lorascale_lint.errors import InputError
from lorascale_lint.rule import Rule, rules_in

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "lorascale_lint.rules"
_CODE = re.compile(r"[A-Z]{2,8}\d{3,4}")
_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)+")


class PlugInError(InputError):
    """An installed package whose rules can't be used; the text names it."""


def rules_of_plug_ins(own: Iterable[Rule]) -> list[Rule]:
    """One instance of each rule that other packages bring. Raises `PlugInError`."""
    taken = {word for rule in own for word in (rule.code, rule.name)}
    found: list[Rule] = []
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value)):
        where = f"{entry.dist.name if entry.dist else entry.value}: entry point {entry.name!r}"
        for rule in _rules(entry, where):
            if why := _objection(rule, taken):
                raise PlugInError(f"{where}: {why}")
            taken |= {rule.code, rule.name}
            found.append(rule())
    return found


def entry_points(group: str) -> Iterable[EntryPoint]:
    """Those of installed packages, where there may be one.

    Mostly there is none, and a twentieth of the time that a small file takes was the import of what asks.
    """
    if not _may_be_declared(group):
        return ()
    from importlib import metadata

    return metadata.entry_points(group=group)


def _may_be_declared(group: str) -> bool:
    others = any(
        hasattr(finder, "find_distributions") for finder in sys.meta_path if finder is not PathFinder
    )
    return others or any(_may_declare(folder, group.encode()) for folder in sys.path)


def _may_declare(folder: str, group: bytes) -> bool:
    if folder.endswith(".egg") or os.path.isfile(folder):
        return True  # an archive: `importlib.metadata` reads it
    try:
        names = os.listdir(folder or os.curdir)
    except OSError:
        return False
    return any(
        name.endswith(".egg")
        or (name.endswith((".dist-info", ".egg-info")) and _declares(os.path.join(folder, name), group))
        for name in names
    )


def _declares(package: str, group: bytes) -> bool:
    try:
        with open(os.path.join(package, "entry_points.txt"), "rb") as file:
            return group in file.read()
    except OSError:
        return False


def digest_of(rules: Iterable[Rule]) -> bytes:
    """Changes whenever the code of rules from other packages changes."""
    files = {
        Path(file) for rule in rules if _is_foreign(rule) and (file := inspect.getsourcefile(type(rule)))
    }
    packages = {file.parent for file in files if (file.parent / "__init__.py").exists()}
    every = files | {file for package in packages for file in package.rglob("*.py")}
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in sorted(every))).digest()


def _rules(entry: EntryPoint, where: str) -> Iterator[type[Rule]]:
    try:
        loaded = entry.load()
    except Exception as error:  # whatever a foreign module does when it is imported
        raise PlugInError(f"{where} cannot be loaded: {type(error).__name__}: {error}") from error
    if isinstance(loaded, ModuleType):
        yield from rules_in(loaded)
    elif inspect.isclass(loaded) and issubclass(loaded, Rule):
        yield loaded
    else:
        raise PlugInError(f"{where} is neither a rule nor a module of rules")


def _objection(rule: type[Rule], taken: set[str]) -> str | None:
    code, name = getattr(rule, "code", ""), getattr(rule, "name", "")
    if not _CODE.fullmatch(code) or re.fullmatch(r"LS\d+", code):
        return f"the code {code!r} must be two to eight capitals, not LS alone, and three or four digits"
    if not _NAME.fullmatch(name):
        return f"the name {name!r} must be small words joined by hyphens"
    if both := {code, name} & taken:
        return f"{min(both)!r} is taken"
    return None


def _is_foreign(rule: Rule) -> bool:
    return not type(rule).__module__.startswith("lorascale_lint.")
