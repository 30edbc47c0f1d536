"""From files to the ledger of what their LoRA code does."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from lorascale_lint.findings import FileFailure
from lorascale_lint.knowledge.interfaces import SETTINGS_NAMES
from lorascale_lint.ledger.entries import Ledger
from lorascale_lint.provenance.driver import examine
from lorascale_lint.sources.modules import module_name
from lorascale_lint.sources.narrow import NestedTooDeeply, parse
from lorascale_lint.sources.prefilter import may_hold_lora
from lorascale_lint.sources.text import SourceText, UndecodableSource

RECURSION_LIMIT = 8000
"""Python frames while code is run on values: an expression inside a call inside a loop takes dozens."""


class _Texts(Mapping[str, str]):
    """Decoded files by name, decoded when they are asked for; one that is no text is empty."""

    def __init__(self, sources: Mapping[Path, bytes]) -> None:
        self.sources = {str(path): data for path, data in sources.items()}
        self.known: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        if name not in self.known:
            data = self.sources[name]
            try:
                self.known[name] = SourceText.decode(data).text
            except UndecodableSource:
                self.known[name] = ""
        return self.known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.sources)

    def __len__(self) -> int:
        return len(self.sources)


def examine_sources(
    sources: Mapping[Path, bytes], modules: Mapping[Path, str], targets: Collection[Path]
) -> Ledger:
    """What happens in ``targets``; the other files of ``sources`` are read where the code leads there."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, RECURSION_LIMIT))
    try:
        names = {str(path): module for path, module in modules.items()}
        machine = examine(_Texts(sources), names, sorted(map(str, targets)))
    finally:
        sys.setrecursionlimit(before)
    ledger = machine.ledger
    ledger.read_source, ledger.lineage = lambda name: sources[Path(name)], machine.program.mro
    others = [data for path, data in sources.items() if str(path) not in machine.looked_at]
    ledger.read_elsewhere = cache(lambda name: _is_read(name, others))
    return ledger


def _is_read(name: str, sources: Iterable[bytes]) -> bool:
    """Is there an attribute called ``name``, or its string, in one of the sources, and not of settings?"""
    attribute = re.compile(rb"(\w+)\s*\.\s*%s\b|[\"']%s[\"']" % (name.encode(), name.encode()))
    return any(
        (found[1] or b"").decode(errors="replace").lower().rpartition("_")[2] not in SETTINGS_NAMES
        for data in sources
        if name.encode() in data
        for found in attribute.finditer(data)
    )


def examine_paths(
    targets: Collection[Path], context: Collection[Path], *, overlay: Mapping[Path, bytes] | None = None
) -> tuple[Ledger, list[FileFailure]]:
    """The ledger of ``targets``, and those among them that could not be read or parsed."""
    sources: dict[Path, bytes] = {}
    failures: list[FileFailure] = []
    for path in sorted({*targets, *context}):
        try:
            sources[path] = overlay[path] if overlay and path in overlay else path.read_bytes()
        except OSError as error:
            failures.append(FileFailure(str(path), f"cannot be read: {error.strerror or error}"))
    modules = {path: module_name(path.absolute()) for path in sources}
    ledger = examine_sources(sources, modules, targets)
    failures += [
        found
        for path in sorted(targets)
        if path in sources and may_hold_lora(sources[path]) and (found := _failure(path, sources[path]))
    ]
    failures += [
        FileFailure(name, f"internal error while the code was followed, in {what}", code="LS000")
        for name, what in ledger.crashes
    ]
    return ledger, failures


def _failure(path: Path, data: bytes) -> FileFailure | None:
    try:
        parse(SourceText.decode(data).text)
    except (NestedTooDeeply, UndecodableSource) as refused:
        return FileFailure(str(path), f"cannot be parsed: {str(refused) or 'it is nested too deeply'}")
    except SyntaxError as error:
        return FileFailure(str(path), f"cannot be parsed: {error}")
    return None
