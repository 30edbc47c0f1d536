"""Facts as bytes: for the cache, and to travel between processes.

JSON and not pickle, so that a cache may be shared or corrupted without running anything. The graph
of terms is written as a table in which each object appears once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from lorascale_lint.facts import terms
from lorascale_lint.facts.terms import ClassFacts, FileFacts, FunctionFacts

_KINDS: dict[str, type[Any]] = {
    name: kind
    for name, kind in vars(terms).items()
    if isinstance(kind, type) and dataclasses.is_dataclass(kind)
}
_FIELDS = {name: tuple(field.name for field in dataclasses.fields(kind)) for name, kind in _KINDS.items()}


def encode(facts: FileFacts) -> bytes:
    """``facts`` as JSON."""
    table: list[Any] = []
    index: dict[int, int] = {}

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value):
            return {"$": reference(value)}
        if isinstance(value, tuple):
            return [plain(item) for item in value]
        if isinstance(value, frozenset):
            return sorted(value)
        return value

    def reference(value: Any) -> int:
        known = index.get(id(value))
        if known is None:
            name = type(value).__name__
            row = [name, *(plain(getattr(value, field)) for field in _FIELDS[name])]
            known = index[id(value)] = len(table)
            table.append(row)
        return known

    reference(facts)
    return json.dumps(table, separators=(",", ":")).encode()


def decode(data: bytes) -> FileFacts:
    """The facts that `encode` wrote.

    Raises:
        ValueError: the bytes are not such facts.
    """
    try:
        objects: list[Any] = []

        def plain(value: Any) -> Any:
            if isinstance(value, dict):
                return objects[value["$"]] if "$" in value else value
            return tuple(plain(item) for item in value) if isinstance(value, list) else value

        for name, *row in json.loads(data):
            values = [plain(item) for item in row]
            if name == "FunctionFacts":
                words = _FIELDS[name].index("words")
                values[words] = frozenset(values[words])
            objects.append(_KINDS[name](*values))
        facts = objects[-1]
    except (LookupError, TypeError, AttributeError, RecursionError, ValueError) as error:
        raise ValueError(f"not a facts file: {error}") from error
    if not isinstance(facts, FileFacts) or not _is_whole(facts):
        raise ValueError("not a facts file")
    return facts


def _is_whole(facts: FileFacts) -> bool:
    parts = ((facts.classes, ClassFacts), (facts.functions, FunctionFacts))
    return isinstance(facts.imports, dict) and all(
        isinstance(items, tuple) and all(isinstance(item, kind) for item in items) for items, kind in parts
    )


@cache
def _schema() -> bytes:
    """Changes whenever the code that makes facts changes."""
    folder = Path(__file__).parent
    sources = [*sorted(folder.glob("*.py")), *sorted((folder.parent / "sources").glob("*.py"))]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in sources)).digest()


class FactsCache:
    """Facts by content, one file each; a missing, foreign or broken entry is a miss."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _path(self, source: bytes, module: str) -> Path:
        key = hashlib.sha256(_schema() + module.encode() + b"\0" + source).hexdigest()
        return self.folder / "facts" / key[:2] / f"{key[2:]}.json"

    def read(self, source: bytes, module: str) -> FileFacts | None:
        """Facts of ``source`` if they are kept."""
        try:
            digest, _, encoded = self._path(source, module).read_bytes().partition(b"\n")
            return decode(encoded) if digest == _digest(encoded) else None
        except (OSError, ValueError):
            return None

    def write(self, source: bytes, module: str, encoded: bytes) -> None:
        """Keep ``encoded`` facts; a cache that can't be written is no error."""
        path = self._path(source, module)
        temporary = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=path.parent)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(_digest(encoded) + b"\n" + encoded)
            os.replace(temporary, path)
        except OSError:
            if temporary is not None:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)


def _digest(encoded: bytes) -> bytes:
    return hashlib.sha256(encoded).hexdigest().encode()
