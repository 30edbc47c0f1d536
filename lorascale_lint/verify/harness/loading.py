"""Importing a file of a project that nobody prepared: as a part of its package, missing packages stubbed."""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import inspect
import io
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from lorascale_lint.verify.harness import quantised
from lorascale_lint.verify.harness.alone import start_groups
from lorascale_lint.verify.harness.elsewhere import at_hand
from lorascale_lint.verify.harness.pieces import define_behind, defined_in
from lorascale_lint.verify.harness.quantised import stand_in
from lorascale_lint.verify.stubs import StubFinder

# A stand-in for it would make torch believe that there is a compiler.
_NEVER_STUBBED = frozenset({"triton", "torch", "numpy"})
_FRAMEWORKS = frozenset({"numpy", "jax", "mlx", "keras", "tensorflow", "flax"})
_NO_NAME = re.compile(r"cannot import name '(\w+)'")
# A file that wants more packages than this is not the one that applies a delta.
_MOST_STUBS = 40
_MOST_FOLDERS = 200


class CannotLoadError(Exception):
    """The file cannot be imported, or has no such name; the text is the reason."""


class Loading:
    """Imports files below `root`, and remembers what it put in place of missing packages."""

    def __init__(self, root: Path) -> None:
        self.root = root if root.is_dir() else root.parent
        # What finds code that comes to other code (`through.Ways`), once there is need of it.
        self.ways: object = None
        self._stubs = StubFinder(())
        self._failed: dict[Path, str] = {}
        self._modules: dict[Path, ModuleType] = {}
        self._pieces: dict[Path, ModuleType | None] = {}

    @property
    def stubs(self) -> dict[str, list[str]]:
        """Package to what was drawn from its stand-in."""
        return self._stubs.drawn()

    def find(self, file: str, name: str) -> Any:
        """The function or class of a file. Raises CannotLoadError."""
        if "<locals>" in name:
            raise CannotLoadError("it is defined inside a function")
        path = (self.root / file).resolve()
        try:
            found: Any = self._module(path)
        except CannotLoadError:
            found = self._pieces_of(path)
            if not hasattr(found, name.partition(".")[0]):
                raise
        if isinstance(found, ModuleType) and not hasattr(found, name.partition(".")[0]):
            self._define_behind(path, found, name.partition(".")[0])
        for part in name.split("."):
            try:
                found = getattr(found, part)
            except AttributeError as error:
                if inspect.isfunction(found):
                    raise CannotLoadError("it is defined inside a function") from error
                raise CannotLoadError(f"{file} has no {name} once it is imported") from error
        return found

    def _offer_torch(self, module: ModuleType) -> None:
        """Code that imports no framework works on what it is given, and that is torch's most of the time."""
        own = {
            getattr(value, "__name__", "").partition(".")[0]
            for value in vars(module).values()
            if isinstance(value, ModuleType)
        }
        if "torch" not in sys.modules and not own & _FRAMEWORKS:
            with contextlib.suppress(Exception):
                importlib.import_module("torch")

    def _module(self, path: Path) -> ModuleType:
        if path in self._failed:
            raise CannotLoadError(self._failed[path])
        if path not in self._modules:
            try:
                self._modules[path] = self._imported(path)
                self._offer_torch(self._modules[path])
                start_groups(self.root.resolve())
            except CannotLoadError as error:
                self._failed[path] = str(error)
                raise
        return self._modules[path]

    def _pieces_of(self, path: Path) -> ModuleType | None:
        if path not in self._pieces:
            quiet = contextlib.redirect_stdout(io.StringIO())
            with quiet, contextlib.redirect_stderr(io.StringIO()), self._stubs.importing(), at_hand():
                self._pieces[path] = defined_in(
                    path, _dotted(path)[1], lambda error: self._provide(error.name or "", path)
                )
        return self._pieces[path]

    def _define_behind(self, path: Path, module: ModuleType, name: str) -> None:
        quiet = contextlib.redirect_stdout(io.StringIO())
        with quiet, contextlib.redirect_stderr(io.StringIO()), self._stubs.importing(), at_hand():
            define_behind(path, module, name, lambda error: self._provide(error.name or "", path))

    def _imported(self, path: Path) -> ModuleType:
        top, name = _dotted(path)
        # A folder of a package is no place to import from: its files have names of other packages.
        places = [top] if (self.root / "__init__.py").is_file() else [top, self.root]
        for place in map(str, places):
            if place not in sys.path:
                sys.path.insert(0, place)
        if b"torch" in path.read_bytes():
            with contextlib.suppress(Exception):
                importlib.import_module("torch")
        if stand_in(self.root):
            self._stubs.note(quantised.NAME)
        if self._stubs not in sys.meta_path:
            # Behind all others: what can be had is never replaced.
            sys.meta_path.append(self._stubs)
        beside = False
        for _ in range(_MOST_STUBS):
            try:
                start = self.root if beside else None
                quiet = contextlib.redirect_stdout(io.StringIO())
                with quiet, _inside(start), self._stubs.importing(), at_hand():
                    return _import(name, path)
            except ModuleNotFoundError as error:
                if not self._provide(error.name or "", path):
                    raise CannotLoadError(f"the package {error.name} is missing") from error
            except (Exception, SystemExit) as error:
                if isinstance(error, ImportError) and self._complete(error, path):
                    continue
                if isinstance(error, FileNotFoundError) and not beside:
                    # Some read their settings by a path from the top of the project.
                    beside = True
                    continue
                text = " ".join(str(error).split())[:200]
                raise CannotLoadError(f"the import raises {type(error).__name__}: {text}") from error
        raise CannotLoadError("too many packages are missing")

    def _provide(self, name: str, path: Path) -> bool:
        """Make a missing module importable: from a folder above `path`, else by a stand-in."""
        top = name.partition(".")[0]
        if not top or top in _NEVER_STUBBED or name in self._stubs.packages or top in self._stubs.packages:
            return False
        home = next((folder for folder in self._homes(path) if _lies_in(folder, top)), None)
        if home is None:
            # A part that an installed package lacks belongs to another version of it.
            missing = name if name != top and importlib.util.find_spec(top) is not None else top
            if missing in self._stubs.packages:
                return False
            self._stubs.packages |= {missing}
        elif str(home) not in sys.path:
            sys.path.insert(0, str(home))
            importlib.invalidate_caches()
        elif not home.joinpath(*name.split(".")).with_suffix(".py").exists():
            # A part of the project that is built or generated, and not there.
            self._stubs.packages |= {name}
        else:
            return False
        return True

    def _complete(self, error: ImportError, path: Path) -> bool:
        """Put a stand-in for a name into an installed module of another version; never into the project."""
        module, found = sys.modules.get(error.name or ""), _NO_NAME.match(str(error))
        if module is None or found is None or (error.name or "").partition(".")[0] in _NEVER_STUBBED:
            return False
        file = getattr(module, "__file__", None)
        if file is None or self.root.resolve() in Path(file).resolve().parents or hasattr(module, found[1]):
            return False
        self._stubs.put_into(module, found[1])
        return True

    def _homes(self, path: Path) -> Iterator[Path]:
        """Folders that may hold a package of the project: those above a file, then others like `src`."""
        root = self.root.resolve()
        yield from (folder for folder in path.parents if folder == root or root in folder.parents)
        yield from sorted(folder for folder in root.iterdir() if folder.is_dir())[:_MOST_FOLDERS]


@contextlib.contextmanager
def _inside(folder: Path | None) -> Iterator[None]:
    """Meanwhile relative paths start in this folder."""
    before = os.getcwd()
    if folder is not None:
        os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _lies_in(folder: Path, top: str) -> bool:
    return (folder / top).is_dir() or (folder / f"{top}.py").is_file()


def _dotted(path: Path) -> tuple[Path, str]:
    """The folder to import from, and the module's name there."""
    parts = [] if path.stem == "__init__" else [path.stem]
    folder = path.parent
    # Folders without an `__init__.py` are packages too where relative imports lead through them.
    least = _relative_level(path) + len(parts)
    while folder.parent != folder and folder.name.isidentifier():
        if not (folder / "__init__.py").is_file() and len(parts) >= least:
            break
        parts.insert(0, folder.name)
        folder = folder.parent
    return folder, ".".join(parts)


def _relative_level(path: Path) -> int:
    """The most dots of a relative import in the file."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return 0
    return max((node.level for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)), default=0)


def _import(name: str, path: Path) -> ModuleType:
    if all(part.isidentifier() for part in name.split(".")):
        module = importlib.import_module(name)
        file = getattr(module, "__file__", None)
        if file is not None and Path(file).resolve() == path:
            return module
    # A file whose name is no name, or is taken by another module.
    unique = f"lorascale_harness_{abs(hash(path))}"
    spec = importlib.util.spec_from_file_location(unique, path)
    if spec is None or spec.loader is None:
        raise CannotLoadError("it is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[unique] = module
    spec.loader.exec_module(module)
    return module
