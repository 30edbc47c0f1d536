"""Which drivers there are, and which of them fits a path. Imports no driver and no framework."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import cast

from lorascale_lint.verify.protocol import Driver, DriverFactory


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
    the first one. `devices` are the kinds of devices that it can run on ("cpu", "cuda"). `package` is the
    import name of what it runs, by which an installed copy is found. `distributed`: its layers can be shared
    by processes that torchrun starts.
    """

    name: str
    factory: str
    locate: Callable[[Path], Path | None]
    import_modes: tuple[str, ...] = ("full",)
    requirements: tuple[Requirement, ...] = ()
    full_requirements: tuple[Requirement, ...] = ()
    looks_for: str = ""
    devices: tuple[str, ...] = ("cpu",)
    package: str = ""
    distributed: bool = False


class UnknownDriverError(Exception):
    """No driver of that name, or none that fits the path."""


class NoDriverError(UnknownDriverError):
    """No driver fits the path, and none was named."""


def _locate_fastvideo(path: Path) -> Path | None:
    for folder in (path / "fastvideo", path):
        # 0.1.0 to 0.1.2 keep the code one package lower.
        inner = (folder, folder / "v1")
        layers = any((place / "layers" / "lora" / "linear.py").is_file() for place in inner)
        if layers and (folder / "__init__.py").is_file() and folder.name != "v1":
            return folder.resolve()
    return None


_ANY_DEVICE = ("cpu", "cuda")

FASTVIDEO = DriverEntry(
    name="fastvideo",
    package="fastvideo",
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
    devices=_ANY_DEVICE,
    distributed=True,
)


def _locate_package(name: str, marker: str) -> Callable[[Path], Path | None]:
    """Finds the package `name` in or at a path, if it has the file `marker`."""

    def locate(path: Path) -> Path | None:
        places = (path, path / name, path / "src" / name)
        found = (place for place in places if place.name == name and (place / marker).is_file())
        return next((place.resolve() for place in found), None)

    return locate


_TORCH = (
    Requirement("torch", "torch"),
    Requirement("numpy", "numpy"),
    Requirement("safetensors", "safetensors"),
)

PEFT = DriverEntry(
    name="peft",
    package="peft",
    factory="lorascale_lint.verify.drivers.peft:prepare",
    locate=_locate_package("peft", "tuners/lora/layer.py"),
    requirements=(
        *_TORCH,
        Requirement("transformers", "transformers"),
        Requirement("accelerate", "accelerate"),
        Requirement("psutil", "psutil"),
    ),
    looks_for="a PEFT tree (peft/tuners/lora/layer.py)",
    devices=_ANY_DEVICE,
)

LYCORIS = DriverEntry(
    name="lycoris",
    package="lycoris",
    factory="lorascale_lint.verify.drivers.lycoris:prepare",
    locate=_locate_package("lycoris", "modules/locon.py"),
    requirements=(*_TORCH, Requirement("einops", "einops"), Requirement("toml", "toml")),
    looks_for="a LyCORIS tree (lycoris/modules/locon.py)",
    devices=_ANY_DEVICE,
)

DIFFUSERS = DriverEntry(
    name="diffusers",
    package="diffusers",
    factory="lorascale_lint.verify.drivers.diffusers:prepare",
    locate=_locate_package("diffusers", "loaders/lora_pipeline.py"),
    requirements=(*_TORCH, Requirement("peft", "peft"), Requirement("transformers", "transformers")),
    looks_for="a diffusers tree (diffusers/loaders/lora_pipeline.py)",
    devices=_ANY_DEVICE,
)

DIFFSYNTH = DriverEntry(
    name="diffsynth",
    package="diffsynth",
    factory="lorascale_lint.verify.drivers.diffsynth:prepare",
    locate=_locate_package("diffsynth", "__init__.py"),
    requirements=_TORCH,
    looks_for="a DiffSynth-Studio tree (diffsynth/)",
    devices=_ANY_DEVICE,
)

LONGCAT = DriverEntry(
    name="longcat",
    package="longcat_video",
    factory="lorascale_lint.verify.drivers.longcat:prepare",
    locate=_locate_package("longcat_video", "modules/lora_utils.py"),
    requirements=(*_TORCH, Requirement("diffusers", "diffusers"), Requirement("einops", "einops")),
    looks_for="a LongCat-Video tree (longcat_video/modules/lora_utils.py)",
)

# For code that nobody wrote a driver for; it runs what the analysis has found.
HARNESS = DriverEntry(
    name="harness",
    factory="lorascale_lint.verify.harness.questions:prepare",
    locate=Path.resolve,
    import_modes=("harness",),
    looks_for="any project in which `map` sees applications",
    devices=("cpu",),
)

DRIVERS: tuple[DriverEntry, ...] = (FASTVIDEO, PEFT, DIFFUSERS, LYCORIS, DIFFSYNTH, LONGCAT)


# Where projects announce drivers of their own: name = "module:attribute" of a `DriverEntry`.
ENTRY_POINT_GROUP = "lorascale_lint.drivers"


@dataclass(frozen=True, slots=True)
class AnnouncedDriver:
    """A driver that an installed package announces; `entry` is None if it can't be imported (`problem`)."""

    name: str
    reference: str
    entry: DriverEntry | None
    problem: str = ""


def announced_drivers() -> list[AnnouncedDriver]:
    """The drivers of installed packages. Imports the modules that announce them, and only those."""
    found = []
    for point in sorted(metadata.entry_points(group=ENTRY_POINT_GROUP), key=lambda point: point.name):
        try:
            entry = load_object(point.value)
            problem = "" if isinstance(entry, DriverEntry) else f"{point.value} is not a DriverEntry"
        except Exception as error:  # One broken package must not keep the others from being verified.
            entry, problem = None, " ".join(str(error).split())
        usable = entry if isinstance(entry, DriverEntry) else None
        found.append(AnnouncedDriver(point.name, point.value, usable, problem))
    return found


def installed() -> list[Path]:
    """The packages of this environment that a driver knows how to run, in the drivers' order."""
    announced = (item.entry for item in announced_drivers() if item.entry)
    places = []
    for entry in (*DRIVERS, *announced):
        spec = importlib.util.find_spec(entry.package) if entry.package else None
        for place in spec.submodule_search_locations or () if spec else ():
            if entry.locate(Path(place)) is not None:
                places.append(Path(place))
                break
    return places


def choose(path: Path, name: str | None = None) -> tuple[DriverEntry, Path]:
    """The driver for `path` and the package folder it means.

    `name` is the name of a driver, or "file.py:attribute" or "module:attribute" of one's own (see
    `own_entry`). Without it, built-in drivers are asked before announced ones. Raises UnknownDriverError with
    a sentence for the person.
    """
    if name is not None:
        entry = _named(name)
        package = entry.locate(path)
        if package is None:
            raise UnknownDriverError(
                f"{path}: the driver {entry.name} runs {entry.looks_for or 'something else'}, "
                "and this is not one."
            )
        return entry, package
    for group in (DRIVERS, tuple(item.entry for item in announced_drivers() if item.entry)):
        fitting = [(entry, package) for entry in group if (package := entry.locate(path)) is not None]
        if len(fitting) > 1:
            names = ", ".join(f"{package} ({entry.name})" for entry, package in fitting)
            raise UnknownDriverError(f"{path} holds more than one package to run: {names}. Name one of them.")
        if fitting:
            return fitting[0]
    wanted = ", ".join(entry.looks_for or entry.name for entry in DRIVERS)
    raise NoDriverError(
        f"{path}: verify knows how to run {wanted}, and this is not one. For other code, "
        "`--driver FILE.py:NAME` names a function of one's own that applies a delta (docs/drivers.md)."
    )


def _named(name: str) -> DriverEntry:
    for entry in (*DRIVERS, HARNESS):
        if entry.name == name:
            return entry
    if ":" in name:
        return own_entry(name)
    announced = announced_drivers()
    for item in announced:
        if item.name == name:
            if item.entry is None:
                raise UnknownDriverError(f"The driver {name} cannot be used: {item.problem}")
            return item.entry
    known = ", ".join([*(entry.name for entry in (*DRIVERS, HARNESS)), *(item.name for item in announced)])
    raise UnknownDriverError(f"There is no driver {name!r}; known drivers: {known}.")


def own_entry(reference: str) -> DriverEntry:
    """A driver of one's own, by "file.py:attribute" or "module:attribute"; imported in the child only.

    The attribute is a loader (see `own`), a `Driver`, a `DriverFactory` or a `DriverEntry`. Raises
    UnknownDriverError if the file is not there.
    """
    place, _, attribute = reference.rpartition(":")
    if place.endswith(".py"):
        if not Path(place).is_file():
            raise UnknownDriverError(f"There is no file {place} to take the driver {attribute} from.")
        place = str(Path(place).resolve())
    return DriverEntry(
        name=reference,
        factory=f"{place}:{attribute}",
        locate=Path.resolve,
        devices=_ANY_DEVICE,
        # Its capabilities say whether it can be; they are not known before it is imported.
        distributed=True,
    )


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


def make_importable(path: Path) -> None:
    """Let one's own driver import the code in `path`: a project, its `src` folder, a package or a file."""
    folder = path if path.is_dir() else path.parent
    while (folder / "__init__.py").is_file() and folder.parent != folder:
        folder = folder.parent
    for place in (folder / "src", folder):
        if place.is_dir() and str(place) not in sys.path:
            sys.path.insert(0, str(place))


def load_factory(reference: str) -> DriverFactory:
    """Import a driver's factory; for the child."""
    from lorascale_lint.verify.own import OwnDriver, is_loader

    found = load_object(reference)
    if isinstance(found, DriverEntry):
        entry = found

        def locate_and_prepare(path: Path, import_mode: str) -> Driver:
            package = entry.locate(path)
            if package is None:
                raise UnknownDriverError(f"{path} is not what {reference} looks for")
            return load_factory(entry.factory)(package, entry.import_modes[0])

        return cast(DriverFactory, locate_and_prepare)
    if is_loader(found):
        name = reference.rpartition("/")[2]
        return cast(DriverFactory, lambda path, import_mode: OwnDriver(found, name=name))
    if hasattr(found, "make_layer") and not callable(found):
        return cast(DriverFactory, lambda path, import_mode: found)
    if inspect.isclass(found) and hasattr(found, "make_layer"):
        return cast(DriverFactory, lambda path, import_mode: found())
    if callable(found):
        return cast(DriverFactory, found)
    raise UnknownDriverError(f"{reference} is neither a function that applies a delta nor a driver.")
