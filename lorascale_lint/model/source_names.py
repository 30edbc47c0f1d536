"""Where names are read, asked of the whole text of every file.

Facts hold what the functions do that can matter, and nothing of files without a LoRA word. That a
name is read *nowhere* needs all of it, so the standard library's parser looks at the few files that
hold the name at all.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from lorascale_lint.facts.terms import Loc
from lorascale_lint.model.project import Function
from lorascale_lint.sources.text import SourceText, UndecodableSource

_LOGS = re.compile(r"(?i)print|warn|warning|info|debug|log|logger|logging|rprint|tqdm|console|pprint|echo")
_LOOKUPS = frozenset("locals vars eval exec globals".split())
_CONFIGURATION = re.compile(r"(?i).*(args|arguments|config|cfg|conf|opts?|options|hparams|settings|meta)")
_BY_STRING = ("getattr", "attrgetter", "__dict__", "vars(", "hasattr", "setattr")

_Definition = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class AttributeRead:
    """A read of ``base.name`` in a file; ``class_name`` is the class around it if ``base`` is ``self``."""

    filename: str
    row: int
    class_name: str | None


@dataclass(frozen=True, slots=True)
class _NameReads:
    """Rows where a function reads each name, logs aside; ``shared`` names others may read too.

    ``everything``: the function looks names up by strings; ``loops`` by their first and last rows.
    """

    everything: bool
    shared: frozenset[str]
    rows: dict[str, list[int]]
    loops: tuple[tuple[int, int], ...]


@dataclass
class SourceNames:
    """Answers from source text; one per model, trees are kept by file."""

    filenames: tuple[str, ...]
    read_source: Callable[[str], bytes]
    _trees: dict[str, ast.Module | None] = field(default_factory=dict)
    _definitions: dict[str, dict[int, _Definition]] = field(default_factory=dict)
    _reads: dict[str, tuple[AttributeRead, ...]] = field(default_factory=dict)
    _in_file: dict[str, dict[str, list[AttributeRead]]] = field(default_factory=dict)
    _names: dict[int, _NameReads] = field(default_factory=dict)

    def tree(self, filename: str) -> ast.Module | None:
        """The syntax tree of a file; None if it has none."""
        if filename not in self._trees:
            try:
                self._trees[filename] = ast.parse(SourceText.decode(self.read_source(filename)).text)
            except (SyntaxError, ValueError, RecursionError, MemoryError, OSError, UndecodableSource):
                self._trees[filename] = None
        return self._trees[filename]

    def definition(self, function: Function) -> _Definition | None:
        """The syntax tree of ``function``."""
        filename = function.filename
        if filename not in self._definitions:
            tree = self.tree(filename)
            nodes = () if tree is None else ast.walk(tree)
            self._definitions[filename] = {
                node.lineno: node for node in nodes if isinstance(node, _Definition)
            }
        return self._definitions[filename].get(function.facts.loc.row)

    def is_statement(self, function: Function, loc: Loc) -> bool:
        """Is the expression at ``loc`` a whole statement of ``function``, so that nobody reads its value?"""
        node = self.definition(function)
        return node is not None and any(
            isinstance(part, ast.Expr) and (part.lineno, part.col_offset + 1) == (loc.row, loc.column)
            for part in ast.walk(node)
        )

    def is_read(self, function: Function, name: str, after_row: int | None = None) -> bool:
        """Is the local or parameter ``name`` read in ``function``, logs aside (True if not known)?

        With ``after_row``: is what was bound there read, behind it or in the next turn of a loop?
        """
        node = self.definition(function)
        if node is None:
            return True
        reads = self._names.get(id(node))
        if reads is None:
            reads = self._names[id(node)] = _name_reads(node)
        if reads.everything or name in reads.shared:
            return True
        rows = reads.rows.get(name, ())
        if after_row is None:
            return bool(rows)
        loop = min((loop for loop in reads.loops if loop[0] <= after_row <= loop[1]), default=None)
        return any(row > after_row or (loop is not None and loop[0] <= row < after_row) for row in rows)

    def docstring(self, function: Function) -> str:
        """The docstring of ``function``, or an empty text."""
        node = self.definition(function)
        return (ast.get_docstring(node) or "") if node is not None else ""

    def attribute_reads(self, name: str) -> tuple[AttributeRead, ...]:
        """Reads of an attribute ``name`` of any object, by attribute, by string, in any file."""
        if name not in self._reads:
            word = re.compile(rb"(?<![A-Za-z0-9_])" + name.encode() + rb"(?![A-Za-z0-9_])")
            self._reads[name] = tuple(
                read
                for filename in self.filenames
                if word.search(self.read_source(filename))
                for read in self._reads_of(filename, name)
            )
        return self._reads[name]

    def _reads_of(self, filename: str, name: str) -> list[AttributeRead]:
        tree = self.tree(filename)
        if tree is None:
            return [AttributeRead(filename, 1, None)]
        if filename not in self._in_file:
            text = self.read_source(filename)
            by_string = any(word.encode() in text for word in _BY_STRING)
            self._in_file[filename] = _attribute_reads(tree, filename, by_string)
        return self._in_file[filename].get(name, [])


def _attribute_reads(tree: ast.Module, filename: str, by_string: bool) -> dict[str, list[AttributeRead]]:
    """All reads of attributes in a file, by their names, in one walk."""
    found: dict[str, list[AttributeRead]] = {}
    pending: list[tuple[ast.AST, str]] = [(tree, "")]
    while pending:
        node, inside = pending.pop()
        match node:
            case ast.ClassDef(name=own):
                inside = f"{inside}.{own}".strip(".")
            case ast.Attribute(attr=attribute, value=base, ctx=ast.Load()):
                own_read = isinstance(base, ast.Name) and base.id in ("self", "cls")
                holder = getattr(base, "attr", getattr(base, "id", ""))
                if own_read or not _CONFIGURATION.fullmatch(holder):
                    read = AttributeRead(filename, node.lineno, inside if own_read else None)
                    found.setdefault(attribute, []).append(read)
            case ast.Constant(value=str(value)) if by_string and value.isidentifier():
                found.setdefault(value, []).append(AttributeRead(filename, node.lineno, None))
            case _:
                pass
        pending.extend((child, inside) for child in ast.iter_child_nodes(node))
    return found


def _is_log(node: ast.AST) -> bool:
    """A call that only tells a person something."""
    if not isinstance(node, ast.Call):
        return False
    func = node.func
    name = func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")
    holder = (
        getattr(func.value, "id", getattr(func.value, "attr", "")) if isinstance(func, ast.Attribute) else ""
    )
    return _LOGS.fullmatch(name) is not None and (not holder or _is_logger(holder))


def _is_logger(holder: str) -> bool:
    return any(word in holder.lower() for word in ("log", "warn", "tqdm", "console", "print", "accelerator"))


def _name_reads(node: _Definition) -> _NameReads:
    """One walk over a function for all questions about its names."""
    parts = list(ast.walk(node))
    logged = {id(part) for call in parts if _is_log(call) for part in ast.walk(call)}
    everything, shared, loops = False, set[str](), list[tuple[int, int]]()
    rows: dict[str, list[int]] = {}
    for part in parts:
        match part:
            case ast.Name(id=name, ctx=context, lineno=row):
                everything = everything or name in _LOOKUPS
                if not isinstance(context, ast.Store) and id(part) not in logged:
                    rows.setdefault(name, []).append(row)
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                shared.update(names)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda() if part is not node:
                shared.update(inner.id for inner in ast.walk(part) if isinstance(inner, ast.Name))
            case ast.For() | ast.While() | ast.AsyncFor():
                loops.append((part.lineno, part.end_lineno or part.lineno))
            case _:
                pass
    return _NameReads(everything, frozenset(shared), rows, tuple(loops))
