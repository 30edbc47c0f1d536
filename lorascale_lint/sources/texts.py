"""The texts of a run, decoded when they are asked for; a word is looked for in the bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from lorascale_lint.bounds import SOURCE_BYTES
from lorascale_lint.sources.text import SourceText, UndecodableSource


class Texts(Mapping[str, str]):
    """Decoded files by name, decoded when they are asked for; one that is no text or too large is empty."""

    def __init__(self, sources: Mapping[Path, bytes]) -> None:
        self.sources = {str(path): data for path, data in sources.items()}
        self.known: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        if name not in self.known:
            data = self.sources[name]
            try:
                self.known[name] = SourceText.decode(data).text if len(data) <= SOURCE_BYTES else ""
            except UndecodableSource:
                self.known[name] = ""
        return self.known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.sources)

    def __len__(self) -> int:
        return len(self.sources)

    def mentions(self, name: str, word: str) -> bool:
        """May ``word`` be in the file ``name``? Every encoding of Python code writes ASCII as ASCII."""
        return not word.isascii() or word.encode() in self.sources[name]
