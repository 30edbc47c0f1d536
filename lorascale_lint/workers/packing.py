"""What was seen in a file, as bytes for another process that has the same project.

Files, definitions and syntax nodes are named by their places and found again in the other process's own
trees, for the rules ask which node an entry stands at, and not how it looks.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import io
import pickle
from typing import Any

from lorascale_lint.errors import InputError
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.linking.definitions import ClassInfo, FileInfo, FunctionInfo
from lorascale_lint.linking.program import Program
from lorascale_lint.provenance.heap import ABSENT

_FROM = ("lorascale_lint.", "ast", "_ast", "builtins", "fractions")
"""Modules whose classes may stand in the bytes."""
_BUILTINS = ("set", "frozenset", "complex", "bytearray", "slice", "range", "Ellipsis", "NotImplemented")


class Places:
    """The files of a program, and what stands in them, by number."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._nodes: dict[str, list[ast.AST]] = {}
        self._numbers: dict[int, tuple[str, int]] = {}
        self._definitions: dict[str, dict[ast.AST, FunctionInfo | ClassInfo]] = {}

    def number(self, node: ast.AST) -> tuple[str, int] | None:
        """File and number of a node; None for one that stands in no file."""
        found = self._numbers.get(id(node))
        if found is None:
            for file in self.program.parsed():
                self.nodes(file.filename)
            found = self._numbers.get(id(node))
        return found

    def nodes(self, filename: str) -> list[ast.AST]:
        """The nodes of a file in the order of their numbers."""
        if filename not in self._nodes:
            self._nodes[filename] = list(ast.walk(self.file(filename).tree))
            for number, node in enumerate(self._nodes[filename]):
                self._numbers[id(node)] = filename, number
        return self._nodes[filename]

    def file(self, filename: str) -> FileInfo:
        """A file by its name."""
        found = self.program.file(filename)
        if found is None:
            raise LookupError(f"{filename} is not in this project")
        return found

    def definition(self, filename: str, node: ast.AST) -> FunctionInfo | ClassInfo | None:
        """What is defined at a node outside any function."""
        if filename not in self._definitions:
            self._definitions[filename] = {info.node: info for info in self.file(filename).definitions()}
        return self._definitions[filename].get(node)


class _Packer(pickle.Pickler):
    def __init__(self, file: io.BytesIO, places: Places) -> None:
        super().__init__(file, protocol=5)
        self._places = places

    def reducer_override(self, item: object) -> Any:
        match item:
            case ast.AST():
                place = self._places.number(item)
                return NotImplemented if place is None else (_node, place)
            case FileInfo():
                return _file, (item.filename,)
            case FunctionInfo() | ClassInfo():
                name = item.file.filename
                known = self._places.definition(name, item.node) is item
                return (_definition, (name, item.node)) if known else NotImplemented
            case Ledger():
                return _ledger, (_kept(item),)
            case _ if item is ABSENT:
                return _absent, ()
            case _:
                return NotImplemented


class _Unpacker(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, places: Places) -> None:
        super().__init__(file)
        self._known = {
            _node.__name__: lambda filename, number: places.nodes(filename)[number],
            _file.__name__: places.file,
            _definition.__name__: places.definition,
            _absent.__name__: lambda: ABSENT,
            _ledger.__name__: lambda kept: Ledger(**kept),
        }

    def find_class(self, module: str, name: str) -> Any:
        if module == __name__ and name in self._known:
            return self._known[name]
        own = module.startswith(_FROM) and "." not in name
        if not own or (module == "builtins" and name not in _BUILTINS):
            raise pickle.UnpicklingError(f"{module}.{name} is nothing that is seen in code")
        found = getattr(importlib.import_module(module), name)
        if not isinstance(found, type) and module != "builtins":
            raise pickle.UnpicklingError(f"{module}.{name} is no class")
        return found


def _node(filename: str, number: int) -> ast.AST:
    raise NotImplementedError  # these stand for what the unpacker knows


def _file(filename: str) -> FileInfo:
    raise NotImplementedError


def _definition(filename: str, node: ast.AST) -> FunctionInfo | ClassInfo:
    raise NotImplementedError


def _absent() -> object:
    raise NotImplementedError


def _ledger(kept: dict[str, Any]) -> Ledger:
    raise NotImplementedError


def _kept(ledger: Ledger) -> dict[str, Any]:
    return {
        item.name: value
        for item in dataclasses.fields(ledger)
        if item.name != "readings" and isinstance(value := getattr(ledger, item.name), list | set | dict)
    }


def packed(looked_at: set[str], ledger: Ledger, places: Places) -> bytes:
    """The bytes of what was seen in files that were looked at."""
    file = io.BytesIO()
    _Packer(file, places).dump((looked_at, ledger))
    return file.getvalue()


def unpacked(data: bytes, places: Places) -> tuple[set[str], Ledger]:
    """What was seen. Raises `InputError` where the bytes are nothing that `packed` makes of this project."""
    try:
        looked_at, ledger = _Unpacker(io.BytesIO(data), places).load()
        if isinstance(looked_at, set) and isinstance(ledger, Ledger):
            return looked_at, ledger
        why = "no ledger"
    except Exception as error:  # whatever a damaged pickle makes a class do
        why = str(error)
    raise InputError(f"what was seen elsewhere can't be read: {why}")
