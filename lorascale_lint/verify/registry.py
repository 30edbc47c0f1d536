"""Which drivers there are, and which of them fits a path. Imports no driver and no framework."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import cast

from lorascale_lint.verify.protocol import DriverFactory


@dataclass(frozen=True, slots=True)
class Requirement:
    """A package that the target needs: its import name and what to ask pip for."""

    module: str
    package: str


@dataclass(frozen=True, slots=True)
class DriverEntry:
    """A driver as the parent process sees it.

    `factory` is "module:attribute" (a `DriverFactory`), imported in the child only. `locate` returns the
    package folder that `path` means, or None if this driver has nothing to do with it. `import_modes` are
    tried in order, each in a fresh child. `requirements` are needed by every mode, `full_requirements` by
    the first one.
    """

    name: str
    factory: str
    locate: Callable[[Path], Path | None]
    import_modes: tuple[str, ...] = ("full",)
    requirements: tuple[Requirement, ...] = ()
    full_requirements: tuple[Requirement, ...] = ()
    looks_for: str = ""


class UnknownDriverError(Exception):
    """No driver of that name, or none that fits the path."""


def _locate_fastvideo(path: Path) -> Path | None:
    for folder in (path / "fastvideo", path):
        # 0.1.0 to 0.1.2 keep the code one package lower.
        inner = (folder, folder / "v1")
        layers = any((place / "layers" / "lora" / "linear.py").is_file() for place in inner)
        if layers and (folder / "__init__.py").is_file() and folder.name != "v1":
            return folder.resolve()
    return None


FASTVIDEO = DriverEntry(
    name="fastvideo",
    factory="lorascale_lint.verify.drivers.fastvideo:prepare",
    locate=_locate_fastvideo,
    import_modes=("full", "lean"),
    requirements=(
        Requirement("torch", "torch"),
        Requirement("numpy", "numpy"),
        Requirement("safetensors", "safetensors"),
        Requirement("cloudpickle", "cloudpickle"),
        Requirement("yaml", "PyYAML"),
        Requirement("diffusers", "diffusers"),
        Requirement("remote_pdb", "remote-pdb"),
        Requirement("imageio", "imageio"),
        Requirement("einops", "einops"),
    ),
    full_requirements=(
        Requirement("transformers", "transformers"),
        Requirement("scipy", "scipy"),
        Requirement("psutil", "psutil"),
        Requirement("ftfy", "ftfy"),
    ),
    looks_for="a FastVideo tree (fastvideo/layers/lora/linear.py)",
)

DRIVERS: tuple[DriverEntry, ...] = (FASTVIDEO,)


def choose(path: Path, name: str | None = None) -> tuple[DriverEntry, Path]:
    """The driver for `path` and the package folder it means.

    `name` is the name of a driver, or "module:attribute" or "file.py:attribute" of a `DriverEntry` (for
    drivers that are kept elsewhere). Raises UnknownDriverError with a sentence for the person.
    """
    candidates = DRIVERS if name is None else (_named(name),)
    for entry in candidates:
        package = entry.locate(path)
        if package is not None:
            return entry, package
    wanted = " or ".join(entry.looks_for or entry.name for entry in candidates)
    raise UnknownDriverError(f"{path}: verify knows how to run {wanted}, and this is not one.")


def _named(name: str) -> DriverEntry:
    for entry in DRIVERS:
        if entry.name == name:
            return entry
    if ":" in name:
        found = load_object(name)
        if isinstance(found, DriverEntry):
            return found
        raise UnknownDriverError(f"{name} is not a DriverEntry.")
    known = ", ".join(entry.name for entry in DRIVERS)
    raise UnknownDriverError(f"There is no driver {name!r}; known drivers: {known}.")


def load_object(reference: str) -> object:
    """Import "module:attribute" or "file.py:attribute".

    Raises UnknownDriverError if there is no such thing.
    """
    place, _, attribute = reference.rpartition(":")
    try:
        module = _load_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
        return cast(object, getattr(module, attribute))
    except (ImportError, AttributeError, ValueError, OSError) as error:
        raise UnknownDriverError(f"{reference} cannot be imported: {error}") from error


def _load_file(path: Path) -> ModuleType:
    name = f"lorascale_driver_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by name while the file is still being executed.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def load_factory(reference: str) -> DriverFactory:
    """Import a driver's factory; for the child."""
    return cast(DriverFactory, load_object(reference))
