"""Running the child in another environment than our own: that of the project, with its packages."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

# What the child itself is written for.
_OLDEST = (3, 11)
# Seconds for an interpreter that does nothing.
_PATIENCE = 30.0
_ASK = "import sys; print(sys.version_info[0], sys.version_info[1])"
# Behind all that the environment has, so that nothing of it is replaced.
_START = (
    f"import sys; folders, order = sys.argv[1].split({os.pathsep!r}), sys.argv[2]; "
    "sys.path += [item for item in folders if item not in sys.path]; "
    "from lorascale_lint.verify.child import main; sys.exit(main([order]))"
)


def why_unfit(python: Path) -> str:
    """Why the child cannot run there, for a person; "" if it can. Starts the interpreter alone."""
    version = _version(python)
    if version is None:
        return f"{python} is no Python interpreter that can be started."
    if version < _OLDEST:
        told, oldest = (".".join(map(str, item)) for item in (version, _OLDEST))
        return f"{python} is Python {told}; verify needs {oldest} or newer there."
    return ""


def elsewhere(python: Path, environment: Mapping[str, str], order: str) -> tuple[list[str], dict[str, str]]:
    """The command and environment of a child under another interpreter.

    Our own package, and of our own environment what the other one lacks (numpy, safetensors) if both are of
    one version, are found behind everything else.
    """
    folders = [str(Path(__file__).resolve().parents[2])]
    if _version(python) == sys.version_info[:2]:
        folders += dict.fromkeys(
            str(item) for item in map(Path, sys.path) if item.name in ("site-packages", "dist-packages")
        )
        folders += dict.fromkeys(sysconfig.get_path(key) for key in ("purelib", "platlib"))
    # What belongs to this interpreter is of no use to another one.
    left_out = ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONUSERBASE")
    own = {name: value for name, value in environment.items() if name not in left_out}
    return [str(python.absolute()), "-P", "-c", _START, os.pathsep.join(dict.fromkeys(folders)), order], own


def _version(python: Path) -> tuple[int, int] | None:
    try:
        done = subprocess.run(
            [str(python.absolute()), "-I", "-S", "-c", _ASK],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=_PATIENCE,
            cwd="/",
            check=True,
        )
        major, minor = map(int, done.stdout.split())
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return major, minor
