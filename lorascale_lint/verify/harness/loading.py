"""Importing a file of a project that nobody prepared: as a part of its package, missing packages stubbed."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from lorascale_lint.verify.stubs import StubFinder

# A stand-in for it would make torch believe that there is a compiler.
_NEVER_STUBBED = frozenset({"triton", "torch", "numpy"})
_FRAMEWORKS = frozenset({"numpy", "jax", "mlx", "keras", "tensorflow", "flax"})
# A file that wants more packages than this is not the one that applies a delta.
_MOST_STUBS = 40


class CannotLoadError(Exception):
    """The file cannot be imported, or has no such name; the text is the reason."""


class Loading:
    """Imports files below `root`, and remembers what it put in place of missing packages."""

    def __init__(self, root: Path) -> None:
        self._root = root if root.is_dir() else root.parent
        self._stubs = StubFinder(())
        self._failed: dict[Path, str] = {}
        self._modules: dict[Path, ModuleType] = {}

    @property
    def stubs(self) -> dict[str, list[str]]:
        """Package to what was drawn from its stand-in."""
        return self._stubs.drawn()

    def find(self, file: str, name: str) -> Any:
        """The function or class of a file. Raises CannotLoadError."""
        if "<locals>" in name:
            raise CannotLoadError("it is defined inside a function")
        found: Any = self._module((self._root / file).resolve())
        for part in name.split("."):
            try:
                found = getattr(found, part)
            except AttributeError as error:
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
            except CannotLoadError as error:
                self._failed[path] = str(error)
                raise
        return self._modules[path]

    def _imported(self, path: Path) -> ModuleType:
        top, name = _dotted(path)
        # A folder of a package is no place to import from: its files have names of other packages.
        places = [top] if (self._root / "__init__.py").is_file() else [top, self._root]
        for place in map(str, places):
            if place not in sys.path:
                sys.path.insert(0, place)
        if self._stubs not in sys.meta_path:
            # Behind all others: what can be had is never replaced.
            sys.meta_path.append(self._stubs)
        for _ in range(_MOST_STUBS):
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    return _import(name, path)
            except ModuleNotFoundError as error:
                missing = (error.name or "").partition(".")[0]
                if not self._may_stub(missing, error.name or ""):
                    raise CannotLoadError(f"the package {error.name} is missing") from error
                self._stubs.packages |= {missing}
            except (Exception, SystemExit) as error:
                text = " ".join(str(error).split())[:200]
                raise CannotLoadError(f"the import raises {type(error).__name__}: {text}") from error
        raise CannotLoadError("too many packages are missing")

    def _may_stub(self, top: str, name: str) -> bool:
        if not top or top in _NEVER_STUBBED or top in self._stubs.packages:
            return False
        own = (self._root / top).exists() or (self._root / f"{top}.py").exists()
        # A part that an installed package lacks is another version of it, and no stand-in would be right.
        return not own and (name == top or importlib.util.find_spec(top) is None)


def _dotted(path: Path) -> tuple[Path, str]:
    """The folder to import from, and the module's name there."""
    parts = [] if path.stem == "__init__" else [path.stem]
    folder = path.parent
    while (folder / "__init__.py").is_file() and folder.parent != folder:
        parts.insert(0, folder.name)
        folder = folder.parent
    return folder, ".".join(parts)


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
