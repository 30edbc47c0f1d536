"""What the code under examination computes with: torch, mlx, JAX, or NumPy alone.

A project may use several, one file this and another that, so it is asked of each file. torch wherever a file
imports it, or nobody says anything; it is never imported here.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Packages that stand for a framework, and the module that makes its arrays; the first one found counts.
_ARRAYS = {"torch": "", "mlx": "mlx.core", "jax": "jax.numpy", "flax": "jax.numpy"}
_AT_WORK = [""]


def arrays_of(path: Path) -> str:
    """The module that makes the arrays of a file; "": torch's, or NumPy's where nothing imports torch."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return ""
    imported = set(_packages(tree))
    return next((module for package, module in _ARRAYS.items() if package in imported), "")


def _packages(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0]


@contextlib.contextmanager
def at_work(path: Path) -> Iterator[None]:
    """Meanwhile arrays and layers are those of the framework that the file uses, if it is there."""
    before = _AT_WORK[0]
    name = arrays_of(path)
    if name:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    _AT_WORK[0] = name if _real(name) is not None else ""
    try:
        yield
    finally:
        _AT_WORK[0] = before


def torch_at_work() -> Any:
    """torch, where arrays are its tensors; None else."""
    return None if _AT_WORK[0] else sys.modules.get("torch")


def mlx_layers() -> Any:
    """mlx's layers, where arrays are mlx's; None else."""
    return importlib.import_module("mlx.nn") if _AT_WORK[0] == "mlx.core" else None


def array(values: NDArray[np.generic]) -> Any:
    """These numbers as an array of the framework at work."""
    torch = torch_at_work()
    if torch is not None:
        return torch.from_numpy(values)
    made = _real(_AT_WORK[0])
    return values if made is None else made.array(values)


def is_array(found: Any) -> bool:
    """Whether it is an array of numbers, whoever made it."""
    if isinstance(found, np.ndarray) or hasattr(found, "detach"):
        return True
    return type(found).__module__.partition(".")[0] in ("mlx", "jax", "jaxlib") and hasattr(found, "dtype")


def versions() -> str:
    """Those of the frameworks beside torch and NumPy that computed, for the report."""
    there = {package for package, module in _ARRAYS.items() if module and _real(module) is not None}
    found = {name: getattr(sys.modules.get(name), "__version__", "") for name in there}
    found["mlx"] = getattr(sys.modules.get("mlx.core"), "__version__", "") if "mlx" in there else ""
    return ", ".join(f"{name} {version}" for name, version in sorted(found.items()) if version)


def _real(name: str) -> ModuleType | None:
    """The module, unless it is missing or a stand-in, which has no file."""
    module = sys.modules.get(name)
    return module if getattr(module, "__file__", None) else None
