"""Where names are read, asked of the whole text of every file.

Facts hold what the functions do that can matter, and nothing of files without a LoRA word. That a
name is read *nowhere* needs all of it, so the standard library's parser looks at the few files that
hold the name at all.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

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


@dataclass
class SourceNames:
    """Answers from source text; one per model, trees are kept by file."""

    filenames: tuple[str, ...]
    read_source: Callable[[str], bytes]
    _trees: dict[str, ast.Module | None] = field(default_factory=dict)
    _definitions: dict[str, dict[int, _Definition]] = field(default_factory=dict)
    _reads: dict[str, tuple[AttributeRead, ...]] = field(default_factory=dict)

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

    def is_read(self, function: Function, name: str, after_row: int | None = None) -> bool:
        """Is the local or parameter ``name`` read in ``function``, logs aside (True if not known)?

        With ``after_row``: is what was bound there read, behind it or in the next turn of a loop?
        """
        node = self.definition(function)
        if node is None:
            return True
        logged = {id(part) for call in ast.walk(node) if _is_log(call) for part in ast.walk(call)}
        loop = None if after_row is None else _outermost_loop(node, after_row)
        for part in ast.walk(node):
            match part:
                case ast.Name(id=found) if found in _LOOKUPS:
                    return True
                case ast.Global(names=names) | ast.Nonlocal(names=names) if name in names:
                    return True
                case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda() if part is not node:
                    if any(isinstance(inner, ast.Name) and inner.id == name for inner in ast.walk(part)):
                        return True
                case ast.Name(id=found, ctx=ast.Load() | ast.Del()) if found == name:
                    behind = after_row is None or part.lineno > after_row
                    again = loop is not None and loop[0] <= part.lineno < (after_row or 0)
                    if (behind or again) and id(part) not in logged:
                        return True
                case _:
                    pass
        return False

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
                for read in self._reads_in(filename, name)
            )
        return self._reads[name]

    def _reads_in(self, filename: str, name: str) -> Iterator[AttributeRead]:
        tree = self.tree(filename)
        if tree is None:
            yield AttributeRead(filename, 1, None)
            return
        text = self.read_source(filename)
        by_string = any(word.encode() in text for word in _BY_STRING)
        pending: list[tuple[ast.AST, str]] = [(tree, "")]
        while pending:
            node, inside = pending.pop()
            match node:
                case ast.ClassDef(name=own):
                    inside = f"{inside}.{own}".strip(".")
                case ast.Attribute(attr=attribute, value=base, ctx=ast.Load()) if attribute == name:
                    own_read = isinstance(base, ast.Name) and base.id in ("self", "cls")
                    holder = getattr(base, "attr", getattr(base, "id", ""))
                    if own_read or not _CONFIGURATION.fullmatch(holder):
                        yield AttributeRead(filename, node.lineno, inside if own_read else None)
                case ast.Constant(value=str(value)) if value == name and by_string:
                    yield AttributeRead(filename, node.lineno, None)
                case _:
                    pass
            pending.extend((child, inside) for child in ast.iter_child_nodes(node))


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


def _outermost_loop(node: _Definition, row: int) -> tuple[int, int] | None:
    """First and last row of the outermost loop in ``node`` around ``row``."""
    loops = [
        (part.lineno, part.end_lineno or part.lineno)
        for part in ast.walk(node)
        if isinstance(part, ast.For | ast.While | ast.AsyncFor)
        and part.lineno <= row <= (part.end_lineno or part.lineno)
    ]
    return min(loops, default=None)
