"""Which attributes and names code reads, so that one that nobody reads can be told from one that counts."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.interfaces import MESSAGES, SETTINGS_NAMES
from lorascale_lint.linking.definitions import ClassInfo, FileInfo, below
from lorascale_lint.linking.program import Program

SETTINGS = "<settings>"
"""The class of a receiver that is called like settings."""
SELF = "<self>"


def fields_read(program: Program, file: FileInfo) -> Iterator[tuple[str, str]]:
    """Key of the class and name of each attribute that the file reads; none for others than ``self``.

    That of settings is `SETTINGS`.

    What a class reads of itself, its bases and the classes that inherit from it read too.
    """
    yield from ((read.owner, read.name) for read in _reads(file) if read.owner != SELF)
    for cls in file.classes.values():
        family = program.mro(cls)
        names = {name for base in family for name in _read_of_self(base)}
        for member in family:
            for name in names:
                yield member.key, name


@lru_cache(maxsize=2_000)
def filled_from_outside(file: FileInfo) -> frozenset[str]:
    """Attributes that the file sets on other objects than ``self``; an empty name for a computed one."""
    found: set[str] = set()
    for node in below(file.tree):
        match node:
            case ast.Attribute(attr=name, ctx=ast.Store()) if not _of_self(node):
                found.add(name)
            case ast.Call(func=ast.Name(id="setattr"), args=[_, name, _]) if not isinstance(
                name, ast.Constant
            ):
                found.add("")
            case _:
                pass
    return frozenset(found)


@immutable(frozen=True, slots=True)
class _Read:
    """An attribute is loaded in a row."""

    owner: str
    """`SELF`, `SETTINGS`, or empty for another receiver."""
    name: str
    row: int


@lru_cache(maxsize=2_000)
def _read_of_self(cls: ClassInfo) -> frozenset[str]:
    rows = range(cls.node.lineno, (cls.node.end_lineno or cls.node.lineno) + 1)
    return frozenset(read.name for read in _reads(cls.file) if read.owner == SELF and read.row in rows)


@lru_cache(maxsize=2_000)
def _reads(file: FileInfo) -> tuple[_Read, ...]:
    """Every attribute that is loaded; to write an entry of one, or to fill one, is not to read it."""
    nodes = below(file.tree)
    written = set()
    for node in nodes:
        match node:
            case (
                ast.Subscript(value=container, ctx=ast.Store())
                | ast.Expr(value=ast.Call(func=ast.Attribute(value=container, attr="append" | "insert")))
            ):
                written.add(id(container))
            case _:
                pass
    found = []
    for node in nodes:
        match node:
            case ast.Attribute(attr=name, ctx=ast.Load()) if id(node) not in written:
                found.append(_Read(_owner(node), name, node.lineno))
            case ast.Call(
                func=ast.Name(id="getattr" | "hasattr"), args=[_, ast.Constant(value=str() as name), *_]
            ):
                found.append(_Read("", name, node.lineno))
            case _:
                pass
    return tuple(found)


def _owner(node: ast.AST) -> str:
    return SELF if _of_self(node) else SETTINGS if _of_settings(node) else ""


def _of_settings(node: ast.AST) -> bool:
    owner = node.value if isinstance(node, ast.Attribute) else None
    name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
    return str(name).lower().rpartition("_")[2] in SETTINGS_NAMES


def _of_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"


def reads(node: ast.AST) -> Iterator[str]:
    """Names that are read for more than a test, a message, or a new value of their own."""
    match node:
        case ast.Name(id=name, ctx=ast.Load()):
            yield name
        case ast.Expr(value=ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name))) if name in MESSAGES:
            return
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test) | ast.Assert(test=test):
            for child in ast.iter_child_nodes(node):
                if child is not test:
                    yield from reads(child)
        case ast.Assign(targets=[ast.Name(id=own)], value=value):
            yield from (name for name in reads(value) if name != own)
        case _:
            for child in ast.iter_child_nodes(node):
                yield from reads(child)
