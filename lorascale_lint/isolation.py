"""Which folders this program imports from: those of the interpreter and of its own installation.

Python puts the working directory, ``PYTHONPATH`` and the user site on the import path, before or behind its
own library. Any of them may hold the project that is linted, whose code must never run. So they are taken
off before anything is imported. Only `os`, `site` and `sys` are used here: they are frozen into the
interpreter, so that no file can stand in their place. `__future__` and `typing` are not.
"""

import os
import site
import sys

NEEDED = ("click", "libcst", "numpy", "platformdirs", "safetensors")
"""Packages that the commands import. Where one is installed in a doubted folder only, that folder is kept,
behind all others."""


def isolate() -> None:
    """Take off this process's import path what a person did not install."""
    sys.path[:] = trusted_path(sys.path)


def leave_out(*folders: str) -> None:
    """Take folders that are linted, and what lies below them, off this process's import path."""
    own = _installed()
    linted = [os.path.realpath(folder) for folder in folders]
    sys.path[:] = [
        entry
        for entry in sys.path
        if _is_in(real := os.path.realpath(entry), own) or not _is_in(real, linted)
    ]


def trusted_path(path: list[str]) -> list[str]:
    """The entries of ``path`` that neither the working directory nor the environment put there.

    The interpreter's own folders stay wherever they lie, for an environment is often below the project.
    """
    own = _installed()
    doubted = _doubted()
    try:
        here = [os.path.realpath(os.getcwd())]
    except OSError:  # it was removed
        here = []
    kept: list[str] = []
    spare = [os.path.dirname(os.path.dirname(os.path.realpath(__file__)))]
    for entry in path:
        if not os.path.isabs(entry):  # the empty one stands for the working directory
            continue
        real = os.path.realpath(entry)
        if _is_in(real, own):
            kept.append(entry)
        elif _is_in(real, here):
            continue
        elif real in doubted:
            spare.append(entry)
        else:
            kept.append(entry)
    for name in NEEDED:
        if not any(_holds(entry, name) for entry in kept):
            kept += [entry for entry in spare if _holds(entry, name)][:1]
    return kept


def _installed() -> list[str]:
    """The standard library and the folders that packages are installed in, for all users."""
    library = os.path.realpath(os.path.dirname(os.__file__))
    archive = f"python{sys.version_info.major}{sys.version_info.minor}.zip"
    folders = [library, os.path.join(os.path.dirname(library), archive), *site.getsitepackages()]
    return [os.path.realpath(folder) for folder in folders]


def _doubted() -> set[str]:
    """Folders that the environment or the start of the process put on the path."""
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    given.append(site.getusersitepackages())
    if sys.argv and sys.argv[0]:
        given.append(os.path.dirname(os.path.realpath(sys.argv[0])))
    return {os.path.realpath(folder) for folder in given if folder}


def _is_in(path: str, folders: list[str]) -> bool:
    return any(path == folder or path.startswith(folder.rstrip(os.sep) + os.sep) for folder in folders)


def _holds(entry: str, name: str) -> bool:
    return os.path.isdir(os.path.join(entry, name))
