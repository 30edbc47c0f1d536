"""From the paths that a person gives to the files to lint and the files to read for linking.

Nothing is imported or executed. Files under the working directory are named relative to it, all
others by their absolute path, so that one file has one name in the whole run.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import overload

from lorascale_lint.bounds import FOLDER_DEPTH
from lorascale_lint.config import Configs
from lorascale_lint.errors import InputError
from lorascale_lint.findings import FileFailure
from lorascale_lint.sources.gitignore import GitIgnore

# Skipped below a given path, never above it: a checkout in /ci/build/project is linted.
SKIPPED_FOLDERS = frozenset(
    {
        ".bzr", ".direnv", ".eggs", ".git", ".hg", ".hypothesis", ".ipynb_checkpoints", ".mypy_cache",
        ".nox", ".pants.d", ".pyenv", ".pytest_cache", ".pytype", ".ruff_cache", ".svn", ".tox", ".venv",
        ".vscode", "__pycache__", "__pypackages__", "_build", "buck-out", "build", "dist", "node_modules",
        "site-packages", "venv",
    }
)  # fmt: skip
NOTEBOOK = ".ipynb"
_NAMESPACE_DEPTH = 2
_PROJECT_MARKERS = ("pyproject.toml", "setup.py", "setup.cfg", ".git")


class MissingPath(InputError):
    """A given path does not exist."""


class Later(Sequence[Path]):
    """Files that are looked for when somebody asks for one: a project may have thousands of them."""

    def __init__(self, find: Callable[[], tuple[Path, ...]]) -> None:
        self._find = find

    @cached_property
    def _found(self) -> tuple[Path, ...]:
        return self._find()

    @overload
    def __getitem__(self, index: int) -> Path: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Path]: ...
    def __getitem__(self, index: int | slice) -> Path | Sequence[Path]:
        return self._found[index]

    def __len__(self) -> int:
        return len(self._found)

    def __eq__(self, other: object) -> bool:
        return self._found == (other._found if isinstance(other, Later) else other)

    def __hash__(self) -> int:
        return hash(self._found)


@dataclass(frozen=True, slots=True)
class Sources:
    """``targets`` are linted, ``context`` holds the other Python files of the same projects.

    ``empty`` are given folders without a Python file. ``roots`` are the folders that all files are in.
    """

    targets: tuple[Path, ...]
    context: Sequence[Path]
    failures: tuple[FileFailure, ...] = ()
    empty: tuple[Path, ...] = ()
    roots: tuple[Path, ...] = field(default=(), compare=False)


def discover(paths: Iterable[Path], configs: Configs, *, notebooks: bool = False) -> Sources:
    """Find the files for the given files and folders, in a fixed order, each once.

    ``notebooks`` are targets for those who read them. A stub (``.pyi``) holds no code and never is one.
    Raises `MissingPath` and `ConfigError`.
    """
    walk = _Walk(configs, notebooks=notebooks)
    targets: dict[str, Path] = {}
    folders: dict[Path, None] = {}
    empty: list[Path] = []
    for given in paths:
        path = _absolute(given)
        is_folder = stat.S_ISDIR(_mode(given, path))
        found = list(walk.files(path) if is_folder else walk.given_file(path))
        for file in found:
            _add(targets, file)
        if is_folder and not found:
            empty.append(given)
        folders[path if is_folder else path.parent] = None
    failures = tuple(walk.failures)  # in the given paths only; a locked folder elsewhere is no failure
    return Sources(
        tuple(sorted(map(display_path, targets.values()))),
        Later(lambda: _context(walk, folders, targets)),
        failures,
        tuple(empty),
        _roots(folders),
    )


def _mode(given: Path, path: Path) -> int:
    """Raises `MissingPath` and `InputError`."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingPath(f"{given}: no such file or folder") from error
    except OSError as error:  # a name that is too long, a folder that can't be searched, a loop of links
        raise InputError(f"{given}: {error.strerror}") from error


def discover_text(path: Path, configs: Configs) -> Sources:
    """As `discover`, for text that is not on disk but is to be treated as the file ``path``.

    Raises `ConfigError`.
    """
    path = _absolute(path)
    targets = {} if configs.leaves_out(path, named=True) else {str(path): path}
    return Sources(
        tuple(map(display_path, targets.values())),
        Later(lambda: _context(_Walk(configs), [path.parent], {os.path.realpath(path): path})),
        roots=_roots([path.parent]),
    )


def _roots(folders: Iterable[Path]) -> tuple[Path, ...]:
    return tuple(sorted({project_root(folder) or folder for folder in folders}))


def _context(walk: _Walk, folders: Iterable[Path], targets: Mapping[str, Path]) -> tuple[Path, ...]:
    """The files of the projects that the folders are in, less the targets."""
    context: dict[str, Path] = {}
    for root in sorted({root for folder in folders if (root := project_root(folder))}):
        for file in walk.files(root):
            if file.suffix == ".py":  # nothing imports a notebook
                _add(context, file)
    here = Path.cwd()
    return tuple(sorted(_below(here, file) for key, file in context.items() if key not in targets))


def project_root(folder: Path) -> Path | None:
    """The folder whose files belong together with those of an absolute path.

    That is the nearest project around it, else the topmost package around it, else nothing: a loose
    folder can be anything, a home or a downloads folder. The search stops at a skipped folder, so
    that a package inside `.venv` does not drag in the project around it.
    """
    for ancestor in (folder, *folder.parents):
        if any(os.path.exists(ancestor / marker) for marker in _PROJECT_MARKERS):
            return ancestor
        if ancestor.name in SKIPPED_FOLDERS:
            break
    top, gap = None, 0
    for ancestor in (folder, *folder.parents):
        # A package may hold folders without `__init__.py`, as FastVideo's `layers/lora` is one.
        top, gap = (ancestor, 0) if os.path.isfile(ancestor / "__init__.py") else (top, gap + 1)
        if gap > _NAMESPACE_DEPTH:
            break
    return top


def display_path(path: Path) -> Path:
    """The name of a file in this run: relative to the working directory if it is below it."""
    return _below(Path.cwd(), _absolute(path))


def _below(here: Path, path: Path) -> Path:
    """The absolute path relative to ``here`` if it is below it."""
    length = len(here.parts)
    return Path(*path.parts[length:]) if path.parts[:length] == here.parts else path


def _add(files: dict[str, Path], file: Path) -> None:
    """Add a file under its real path, so that a link and what it points to are one file."""
    real = os.path.realpath(file)
    if real not in files or not file.is_symlink():
        files[real] = file


def _absolute(path: Path) -> Path:
    # `link/..` is the parent of what the link points to, so only the file system can remove `..`.
    if ".." in path.parts:
        path = path.parent.resolve() / path.name if path.name != ".." else path.resolve()
    return Path(os.path.abspath(path))


class _Walk:
    """Python files below a folder. Links to folders are not followed, so a loop of links ends."""

    def __init__(self, configs: Configs, *, notebooks: bool = False) -> None:
        self._configs = configs
        self._endings = (".py", NOTEBOOK) if notebooks else (".py",)
        self._git: GitIgnore | None = None
        self.failures: list[FileFailure] = []

    def given_file(self, path: Path) -> Iterator[Path]:
        if path.suffix == ".pyi" or self._configs.leaves_out(path, named=True):
            return
        if path.suffix == NOTEBOOK and NOTEBOOK not in self._endings:
            self._fail(path, "is a notebook, which only `check` reads")
        elif stat.S_ISREG(path.stat().st_mode):
            yield path
        else:
            self._fail(path, "not a regular file")

    def files(self, folder: Path, depth: int = 0) -> Iterator[Path]:
        """Raises `ConfigError` for settings that hold for the whole ``folder``."""
        try:
            if depth > FOLDER_DEPTH:
                raise OSError(0, f"more than {FOLDER_DEPTH} folders within one another")
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            self._fail(folder, f"cannot read the folder: {error.strerror}")
            return
        if depth and (wrong := self._configs.enter(folder)):
            settings = folder / "pyproject.toml"
            self._fail(settings, f"cannot be used: {str(wrong).removeprefix(f'{settings}: ')}")
        links = []
        for entry in entries:
            path = folder / entry.name
            is_folder = _holds(entry.is_dir, follow_symlinks=False)
            wanted = entry.name not in SKIPPED_FOLDERS if is_folder else entry.name.endswith(self._endings)
            if not wanted or self._configs.leaves_out(path) or self._ignored(path, is_folder):
                continue
            if is_folder:
                yield from self.files(path, depth + 1)
            elif entry.is_symlink():
                links.append(path)
            elif _holds(entry.is_file):
                yield path
        yield from (link for link in links if os.path.isfile(link))

    def _ignored(self, path: Path, is_folder: bool) -> bool:
        if self._git is None or not path.is_relative_to(self._git.top):
            self._git = GitIgnore(path.parent)
        return self._configs.respects_gitignore(path) and self._git.ignores(path, is_folder=is_folder)

    def _fail(self, path: Path, message: str) -> None:
        self.failures.append(FileFailure(str(display_path(path)), message))


def _holds(question: Callable[..., bool], **options: bool) -> bool:
    """The answer of an entry of a folder; no, where the file system can't say."""
    try:
        return question(**options)
    except OSError:
        return False
