"""Facts as bytes: for the cache, and to travel between processes.

JSON and not pickle, so that a cache may be shared or corrupted without running anything. The graph
of terms is written as a table in which each object appears once.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from lorascale_lint.cache import ContentCache, code_digest, content_key
from lorascale_lint.facts import terms
from lorascale_lint.facts.terms import ClassFacts, FileFacts, FunctionFacts, Unread

_KINDS: dict[str, type[Any]] = {
    name: kind
    for name, kind in vars(terms).items()
    if isinstance(kind, type) and dataclasses.is_dataclass(kind)
}
_FIELDS = {name: tuple(field.name for field in dataclasses.fields(kind)) for name, kind in _KINDS.items()}
_FIELDS_OF = {_KINDS[name]: names for name, names in _FIELDS.items()}


def encode(facts: FileFacts) -> bytes:
    """``facts`` as JSON."""
    table: list[Any] = []
    index: dict[int, int] = {}

    def plain(value: Any) -> Any:
        kind = type(value)
        if kind in _FIELDS_OF:
            return {"$": reference(value)}
        if kind is tuple:
            return [plain(item) for item in value]
        return sorted(value) if kind is frozenset else value

    def reference(value: Any) -> int:
        known = index.get(id(value))
        if known is None:
            name = type(value).__name__
            row = [name, *[plain(getattr(value, field)) for field in _FIELDS_OF[type(value)]]]
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
            kind = type(value)
            if kind is dict:
                return objects[value["$"]] if "$" in value else value
            return tuple([plain(item) for item in value]) if kind is list else value

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
    parts = ((facts.classes, ClassFacts), (facts.functions, FunctionFacts), (facts.unread, Unread))
    return isinstance(facts.imports, dict) and all(
        isinstance(items, tuple) and all(isinstance(item, kind) for item in items) for items, kind in parts
    )


class FactsCache:
    """Facts by content, one file each."""

    def __init__(self, folder: Path) -> None:
        self.kept = ContentCache(folder / "facts")

    def read(self, source: bytes, module: str) -> FileFacts | None:
        """Facts of ``source`` if they are kept."""
        encoded = self.kept.read(_key(source, module))
        try:
            return None if encoded is None else decode(encoded)
        except ValueError:
            return None

    def write(self, source: bytes, module: str, encoded: bytes) -> None:
        """Keep ``encoded`` facts."""
        self.kept.write(_key(source, module), encoded)

    def trim(self) -> None:
        """Forget the facts of files that were not seen for long."""
        self.kept.trim()


def _key(source: bytes, module: str) -> str:
    folder = Path(__file__).parent
    return content_key(
        code_digest((folder, folder.parent / "sources")), module.encode(errors="surrogatepass"), source
    )
