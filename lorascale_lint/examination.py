"""From files to the ledger of what their LoRA code does."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from lorascale_lint.findings import FileFailure
from lorascale_lint.ledger.entries import Ledger
from lorascale_lint.provenance.driver import examine
from lorascale_lint.sources.modules import module_name
from lorascale_lint.sources.narrow import NestedTooDeeply, syntax_error
from lorascale_lint.sources.text import SourceText, UndecodableSource

RECURSION_LIMIT = 8000
"""Python frames while code is run on values: an expression inside a call inside a loop takes dozens."""


class _Texts(Mapping[str, str]):
    """Decoded files by name, read when they are asked for."""

    def __init__(self, names: Collection[str], overlay: Mapping[Path, bytes]) -> None:
        self.names = dict.fromkeys(names)
        self.overlay = overlay
        self.known: dict[str, str] = {}
        self.failures: dict[str, FileFailure] = {}

    def __getitem__(self, name: str) -> str:
        if name not in self.names:
            raise KeyError(name)
        if name not in self.known:
            self.known[name] = self._read(name)
        return self.known[name]

    def _read(self, name: str) -> str:
        path = Path(name)
        try:
            data = self.overlay[path] if path in self.overlay else path.read_bytes()
            return SourceText.decode(data).text
        except OSError as error:
            self.failures[name] = FileFailure(name, f"cannot be read: {error.strerror or error}")
        except UndecodableSource as error:
            self.failures[name] = FileFailure(name, str(error))
        return ""

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def examine_paths(
    targets: Collection[Path], context: Collection[Path], *, overlay: Mapping[Path, bytes] | None = None
) -> tuple[Ledger, list[FileFailure]]:
    """What happens in ``targets``; files of ``context`` are read where the code leads there.

    The failures are files among the targets that could not be read or parsed.
    """
    names = sorted({str(path) for path in (*targets, *context)})
    texts = _Texts(names, overlay or {})
    modules = {name: module_name(Path(name).absolute()) for name in names}
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, RECURSION_LIMIT))
    try:
        wanted = sorted(map(str, targets))
        machine = examine(texts, modules, wanted)
        failures = [failure for name in wanted if (failure := _failure(texts, name)) is not None]
    finally:
        sys.setrecursionlimit(before)
    return machine.ledger, failures


def _failure(texts: _Texts, name: str) -> FileFailure | None:
    text = texts[name]
    if name in texts.failures:
        return texts.failures[name]
    try:
        error = syntax_error(text)
    except NestedTooDeeply:
        return FileFailure(name, "cannot be parsed: it is nested too deeply")
    return None if error is None else FileFailure(name, f"cannot be parsed: {error}")
