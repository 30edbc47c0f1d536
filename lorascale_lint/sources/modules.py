"""Dotted module names of files, so that imports between them can be followed."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

_MARKERS = ("pyproject.toml", "setup.py", "setup.cfg", ".git")
_LEVELS = 16


def module_name(path: Path) -> str:
    """Dotted name of ``path``, counted from the folder that holds its topmost package.

    Folders without ``__init__.py`` between two packages count as packages too. Without any package
    the name is counted from the project's folder, else it is the file's own.
    """
    root = _source_root(path.parent)
    folders = path.parent.parts[len(root.parts) :]
    return ".".join(folders if path.stem == "__init__" else (*folders, path.stem)) or path.parent.name


@cache
def _source_root(folder: Path) -> Path:
    topmost: Path | None = None
    current = folder
    for _ in range(_LEVELS):
        if os.path.exists(current / "__init__.py"):
            topmost = current
        if any(os.path.exists(current / marker) for marker in _MARKERS):
            return (
                topmost.parent if topmost is not None and topmost != current else _below_src(folder, current)
            )
        if current.parent == current:
            break
        current = current.parent
    return topmost.parent if topmost is not None else folder


def _below_src(folder: Path, root: Path) -> Path:
    src = root / "src"
    return src if src in (folder, *folder.parents) else root
