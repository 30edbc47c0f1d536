"""What can be run for one row of the code: the application it lies in, or those of its class."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lorascale_lint.config import Configs
from lorascale_lint.errors import InputError
from lorascale_lint.examination import examine_paths
from lorascale_lint.knowledge.members import CALLED_BY_FRAMEWORK
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.linking.definitions import ClassInfo
from lorascale_lint.sources.discovery import discover, display_path
from lorascale_lint.verify.harness.description import Action, Place, Sketch
from lorascale_lint.verify.harness.sketches import relative, sketches_in

_MOST_HEIRS = 4


@dataclass(frozen=True, slots=True)
class Scope:
    """A class or function of a file: `name` is qualified, `owner` the class that a method belongs to.

    `first` is the row of the name, `start` that of the first decorator.
    """

    name: str
    owner: str
    start: int
    first: int
    last: int
    is_class: bool

    @property
    def cls(self) -> str:
        """The class that it is or belongs to; "" for a plain function."""
        return self.name if self.is_class else self.owner


class Scopes:
    """The classes and functions of a file."""

    def __init__(self, source: bytes) -> None:
        try:
            self._all = tuple(_scopes(ast.parse(source), "", ""))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            self._all = ()

    def at(self, row: int) -> Scope | None:
        """The innermost one around a row."""
        around = [scope for scope in self._all if scope.start <= row <= scope.last]
        return max(around, key=lambda scope: (scope.start, -scope.last), default=None)


def _scopes(node: ast.AST, outer: str, cls: str) -> Iterator[Scope]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            name = f"{outer}{child.name}"
            is_class = isinstance(child, ast.ClassDef)
            start = min(child.lineno, *(item.lineno for item in child.decorator_list), child.lineno)
            last = child.end_lineno or child.lineno
            yield Scope(name, "" if is_class else cls, start, child.lineno, last, is_class)
            # A function inside a function is no method, and cannot be had from outside.
            yield from _scopes(
                child, f"{name}." if is_class else f"{name}.<locals>.", name if is_class else ""
            )
        else:
            yield from _scopes(child, outer, cls)


class Places:
    """The sketches of a project by the rows that they can answer for."""

    def __init__(self, ledger: Ledger, targets: Collection[str], root: Path) -> None:
        self._ledger = ledger
        self._root = root
        self._sketches = sketches_in(ledger, targets, root)
        self._scopes: dict[str, Scopes] = {}
        owners = {cls for entry in ledger.applies if (cls := entry.spot.cls)}
        self._lineages = {self._named(cls): set(map(self._named, ledger.lineage(cls))) for cls in owners}

    def scope(self, filename: str, row: int) -> Scope | None:
        """The class or function around a row of a file."""
        if filename not in self._scopes:
            self._scopes[filename] = Scopes(self._source(filename))
        return self._scopes[filename].at(row)

    def at(self, filename: str, row: int) -> tuple[Sketch, ...]:
        """Applications in the function around the row, else of its class, else the function as it is."""
        scope = self.scope(filename, row)
        if scope is None:
            return ()
        file = relative(filename, self._root)
        own = [item for item in self._in(file) if item.place.name == scope.name]
        exact = [item for item in own if item.place.row == row]
        return tuple(exact or own or self.beside(filename, row) or self._made(scope, file, filename))

    def beside(self, filename: str, row: int) -> tuple[Sketch, ...]:
        """Applications of the class around the row, and the forwards of those made of it."""
        scope = self.scope(filename, row)
        if scope is None or not scope.cls:
            return ()
        file = relative(filename, self._root)
        own = [item for item in self._in(file) if item.place.owner == scope.cls]
        heirs = [
            item
            for item in self._sketches
            if item not in own
            and item.place.action is Action.FORWARD
            and (file, scope.cls) in self._lineages.get((item.place.file, item.place.owner), ())
        ]
        return (*own, *heirs[:_MOST_HEIRS])

    def _named(self, cls: ClassInfo) -> tuple[str, str]:
        return relative(cls.file.filename, self._root), cls.qualname

    def _in(self, file: str) -> list[Sketch]:
        return [sketch for sketch in self._sketches if sketch.place.file == file]

    def _made(self, scope: Scope, file: str, filename: str) -> Iterable[Sketch]:
        """A function that only calls one which applies a delta, or that should apply one and does not."""
        if scope.is_class:
            return ()
        method = scope.name.rpartition(".")[2]
        action = Action.FORWARD if method in CALLED_BY_FRAMEWORK else Action.MERGE
        place = Place(file, scope.name, scope.first, action, owner=scope.owner)
        return sketches_in(self._ledger, (), self._root, ((filename, place),))

    def _source(self, filename: str) -> bytes:
        try:
            return Path(filename).read_bytes()
        except OSError:
            return b""


def sketches_at(path: Path, only: str) -> tuple[Sketch, ...]:
    """The sketches for "FILE:ROW" in the project at `path`. Raises InputError for another text."""
    name, _, row = only.rpartition(":")
    root = path if path.is_dir() else path.parent
    file = next((item for item in (Path(name), root / name) if name and item.is_file()), None)
    if file is None or not row.isdecimal():
        raise InputError(f"--only takes a file and a row of it, as in layers/lora.py:87, and not {only!r}")
    target = display_path(file)
    sources = discover([path, file], Configs())
    others = [item for item in (*sources.targets, *sources.context) if item != target]
    ledger, _unread = examine_paths((target,), others)
    return Places(ledger, {str(target)}, root).at(str(target), int(row))
