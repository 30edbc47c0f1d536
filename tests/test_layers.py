"""The order of the rooms, and no two files that import each other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

import lorascale_lint

PACKAGE = Path(lorascale_lint.__file__).parent
ORDER = ("sources", "knowledge", "linking", "provenance", "ledger", "rules")
"""Each room may import from those before it."""
WRITTEN = tuple(f"lorascale_lint.ledger.{name}" for name in ("entries", "ledger", "spots"))
"""What the engine writes, in its own values."""


def _name(path: Path) -> str:
    parts = ("lorascale_lint", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(tree: ast.Module) -> set[str]:
    """Modules that are imported when the file is, or when a function of it runs; none for types alone."""
    types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if node in types:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def _graph() -> dict[str, set[str]]:
    trees = {
        _name(path): _imports(ast.parse(path.read_text()))
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).parts[0] in ORDER
    }
    return {
        name: {other for other in found if other in trees and other != name} for name, found in trees.items()
    }


def test_no_two_files_of_the_engine_import_each_other() -> None:
    graph = _graph()
    done: set[str] = set()

    def walk(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " imports ".join((*way[way.index(name) :], name))
        if name in done:
            return
        for other in sorted(graph[name]):
            walk(other, (*way, name))
        done.add(name)

    for name in sorted(graph):
        walk(name, ())


def _defined(tree: ast.Module) -> Iterator[str]:
    """What the top level of a file gives a name to, as often as it does."""
    for node in tree.body:
        match node:
            case ast.Assign(targets=targets):
                yield from (target.id for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name


def test_no_file_gives_a_name_twice() -> None:
    """A second table of one name takes the place of the first one, wherever that is used."""
    for path in PACKAGE.rglob("*.py"):
        names = list(_defined(ast.parse(path.read_text())))
        assert sorted(names) == sorted(set(names)), path


def test_rooms_know_only_what_comes_before_them() -> None:
    wrong = [
        f"{name} imports {other}"
        for name, found in _graph().items()
        for other in found
        if other not in WRITTEN and ORDER.index(_room(other)) > ORDER.index(_room(name))
    ]
    assert not wrong


def _room(name: str) -> str:
    return name.split(".")[1]


SMALL = 4
"""Up to here a number in the engine is a count of arguments or parts, and no bound."""


def _is_count(node: ast.expr | None) -> bool:
    value = node.operand if isinstance(node, ast.UnaryOp) else node
    return isinstance(value, ast.Constant) and type(value.value) is int and value.value > SMALL


def _bounds(tree: ast.Module) -> Iterator[int]:
    """Rows with a bound: a number that has a name, cuts something, or is compared with a length."""
    for statement in tree.body:
        if isinstance(statement, ast.Assign):
            values = statement.value.elts if isinstance(statement.value, ast.Tuple) else [statement.value]
            if any(type(getattr(value, "value", None)) is int for value in values):
                yield statement.lineno
    for node in ast.walk(tree):
        match node:
            case ast.Slice(lower=lower, upper=upper) if _is_count(lower) or _is_count(upper):
                yield node.lineno
            case ast.Compare(ops=[ast.Lt() | ast.LtE() | ast.Gt() | ast.GtE()], comparators=[right]):
                of_length = ast.unparse(node.left).startswith("len(") or isinstance(node.left, ast.Name)
                if of_length and _is_count(right):
                    yield node.lineno


@pytest.mark.parametrize("room", ["linking", "provenance", "ledger"])
def test_bounds_of_the_engine_stand_in_one_place(room: str) -> None:
    found = [
        f"{path.name}:{row}"
        for path in sorted((PACKAGE / room).glob("*.py"))
        for row in _bounds(ast.parse(path.read_text()))
    ]
    assert not found


def test_each_bound_is_explained() -> None:
    body = ast.parse((PACKAGE / "bounds.py").read_text()).body
    for statement, after in pairwise([*body, ast.Pass()]):
        if isinstance(statement, ast.Assign) and not isinstance(after, ast.Assign):
            text = getattr(getattr(after, "value", None), "value", "")
            assert len(str(text)) > 20, f"bounds.py:{statement.lineno}"


LONGEST_RULE = 80
"""Rows of code of a rule, without its page."""


def _rows_of_code(path: Path) -> int:
    text = path.read_text()
    pages: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            pages.update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    rows = enumerate(text.splitlines(), 1)
    return sum(bool(row.strip()) and number not in pages for number, row in rows)


@pytest.mark.parametrize("path", sorted((PACKAGE / "rules").glob("*.py")), ids=lambda path: path.stem)
def test_a_rule_is_its_page_and_a_few_rows_and_walks_no_syntax(path: Path) -> None:
    assert "ast" not in _imports(ast.parse(path.read_text()))
    assert _rows_of_code(path) <= LONGEST_RULE
