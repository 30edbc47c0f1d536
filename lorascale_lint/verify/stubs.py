"""Stand-ins for packages that cannot be had, every use of them on record.

Only names on an explicit list are ever stubbed. An optional kernel that is missing must stay missing, so
that the target's own fallback runs; `triton` in particular must never exist as a stub, or torch believes in
it and dies.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from types import ModuleType
from typing import Any


class _Record:
    """Attributes drawn from stubs, by top-level package."""

    def __init__(self) -> None:
        self.drawn: dict[str, set[str]] = {}
        self.importing = False

    def note(self, dotted: str) -> None:
        package, _, rest = dotted.partition(".")
        self.drawn.setdefault(package, set()).add(rest)


class _StubType(type):
    """Any attribute of a stub class is a stub class again; making an instance is refused.

    What a module calls while it is imported (a logger, a decorator, a question for what is available) gives a
    stub that counts as false.
    """

    _record: _Record
    _path: str

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        child = _make_stub(f"{cls._path}.{name}", cls._record)
        setattr(cls, name, child)
        return child

    def __getitem__(cls, _item: Any) -> Any:
        # Annotations such as `Float[Tensor, "b n"]`.
        return cls

    def __or__(cls, other: Any) -> Any:
        return object

    __ror__ = __or__

    def __bool__(cls) -> bool:
        return not cls._path.endswith("()")

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls._record.importing:
            return _make_stub(f"{cls._path}()", cls._record)
        # A stub that computes something would put an invented number into the verdict.
        raise RuntimeError(f"{cls._path} is only a stub; this scenario needs the real package")


def _make_stub(path: str, record: _Record) -> _StubType:
    record.note(path)
    return _StubType(path.rpartition(".")[2], (), {"_record": record, "_path": path, "__module__": "stub"})


class _StubModule(ModuleType):
    _stub_record: _Record

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        child = _make_stub(f"{self.__name__}.{name}", self._stub_record)
        setattr(self, name, child)
        return child


class StubFinder(MetaPathFinder, Loader):
    """Serves the listed packages or modules (dotted), and whatever lies below them, as stubs."""

    def __init__(self, packages: Sequence[str]) -> None:
        self.packages = frozenset(packages)
        self._record = _Record()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec of a stub for a name on the list, else None."""
        if not self._serves(fullname):
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """An empty module whose attributes come into being when they are drawn."""
        module = _StubModule(spec.name)
        module._stub_record = self._record
        if "." in spec.name:
            self._record.note(spec.name)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to execute."""

    def _serves(self, fullname: str) -> bool:
        steps = fullname.split(".")
        return any(".".join(steps[:length]) in self.packages for length in range(1, len(steps) + 1))

    @contextlib.contextmanager
    def importing(self) -> Iterator[None]:
        """Meanwhile stubs can be called; who only looks whether a package is there finds no stub."""
        before, self._record.importing = self._record.importing, True
        look = importlib.util.find_spec

        def find_spec(name: str, package: str | None = None) -> importlib.machinery.ModuleSpec | None:
            return None if self._serves(name) else look(name, package)

        importlib.util.find_spec = find_spec
        try:
            yield
        finally:
            self._record.importing = before
            importlib.util.find_spec = look

    def note(self, dotted: str) -> None:
        """Put on record what somebody else put in the place of a package."""
        self._record.note(dotted)

    def put_into(self, module: ModuleType, name: str) -> None:
        """A stand-in for something that an installed module lacks, being of another version."""
        setattr(module, name, _make_stub(f"{module.__name__}.{name}", self._record))

    def drawn(self) -> dict[str, list[str]]:
        """Package to the attributes and submodules drawn from it so far, sorted.

        Empty if only its name was used.
        """
        tops = sorted({name.partition(".")[0] for name in self.packages} | self._record.drawn.keys())
        return {name: sorted(self._record.drawn.get(name, ())) for name in tops}


def stub_if_unusable(packages: Sequence[str]) -> StubFinder | None:
    """Stub those of `packages` that cannot be imported; None if all can.

    "Cannot be imported" is any exception: a torchvision built for another torch raises RuntimeError.
    """
    unusable = []
    for package in packages:
        try:
            importlib.import_module(package)
        except Exception:  # Any failure means the same here.
            for name in [name for name in sys.modules if name.partition(".")[0] == package]:
                del sys.modules[name]
            unusable.append(package)
    if not unusable:
        return None
    finder = StubFinder(unusable)
    sys.meta_path.insert(0, finder)
    return finder


class PackageFinder(MetaPathFinder):
    """Finds one package in one folder.

    The folder around it stays off `sys.path`: wheels and checkouts have `tests`, `docs` or `examples`
    beside the package, which would shadow others.
    """

    def __init__(self, name: str, folder: str) -> None:
        self.name = name
        self.folder = folder

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec of the package itself; its parts are found through its `__path__` as usual."""
        if fullname != self.name:
            return None
        return importlib.util.spec_from_file_location(
            fullname, f"{self.folder}/__init__.py", submodule_search_locations=[self.folder]
        )
