"""A file that cannot be imported whole: what it defines, statement by statement.

Scripts parse their arguments, or load weights that are not there, beside the functions that are wanted.
"""

from __future__ import annotations
import __future__

import ast
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

# After the first failure a script's work is of no use any more.
_DEFINING = (
    ast.Import,
    ast.ImportFrom,
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Assign,
    ast.AnnAssign,
    ast.If,
    ast.Try,
)
_MOST_TRIES = 20


def defined_in(path: Path, name: str, provide: Callable[[ModuleNotFoundError], bool]) -> ModuleType | None:
    """The module `name` with what those statements define that can be executed; None if there are none.

    `provide` makes a package importable that is missing, or says that it can't.
    """
    try:
        source = path.read_bytes()
        tree = ast.parse(source)
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None
    spec = spec_from_file_location(name, path)
    if spec is None:
        return None
    module = module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = module
    flags = __future__.annotations.compiler_flag if _postpones(tree) else 0
    whole = True
    for statement in tree.body:
        if whole or isinstance(statement, _DEFINING):
            piece = ast.Module([statement], [])
            whole = _is_executed(compile(piece, str(path), "exec", flags, True), module, provide) and whole
    if before is not None:
        sys.modules[name] = before
    return module


def define_behind(
    path: Path, module: ModuleType, name: str, provide: Callable[[ModuleNotFoundError], bool]
) -> None:
    """Execute what a condition that does not hold here keeps from defining `name`: a package is missing."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return
    flags = __future__.annotations.compiler_flag if _postpones(tree) else 0
    for statement in tree.body:
        if isinstance(statement, ast.If) and any(
            getattr(item, "name", "") == name for item in statement.body
        ):
            for inner in statement.body:
                piece = compile(ast.Module([inner], []), str(path), "exec", flags, True)
                _is_executed(piece, module, provide)


def _is_executed(code: object, module: ModuleType, provide: Callable[[ModuleNotFoundError], bool]) -> bool:
    for _ in range(_MOST_TRIES):
        try:
            exec(code, vars(module))  # type: ignore[arg-type]
        except ModuleNotFoundError as error:
            if not provide(error):
                return False
        except (Exception, SystemExit):  # Whatever it raises, others may do without it.
            return False
        else:
            return True
    return False


def _postpones(tree: ast.Module) -> bool:
    return any(
        isinstance(item, ast.ImportFrom)
        and item.module == "__future__"
        and any(alias.name == "annotations" for alias in item.names)
        for item in tree.body
    )
