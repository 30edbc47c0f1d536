"""`--baseline`: a file that lists the findings a project starts with. It only ever gets shorter by itself."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorascale_lint.adoption.counts import Counts, Spot
from lorascale_lint.bounds import BASELINE_BYTES
from lorascale_lint.errors import InputError
from lorascale_lint.reading import read_regular

_VERSION = 1


class BaselineError(InputError):
    """A baseline that can't be read or written; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """The known findings in ``file``, whose paths are relative to its folder."""

    file: Path
    known: Counts

    @classmethod
    def read(cls, file: Path) -> Baseline:
        """Raises `BaselineError`."""
        try:
            document = json.loads(read_regular(file, BASELINE_BYTES))
            if document["version"] != _VERSION:
                raise BaselineError(f"{file}: version {document['version']!r} of baselines is not known here")
            known = {
                Spot(_name(file, path), code, definition): _number(number)
                for path, codes in document["findings"].items()
                for code, definitions in codes.items()
                for definition, number in definitions.items()
            }
        except OSError as error:
            raise BaselineError(f"{file}: cannot be read: {error.strerror or error}") from error
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise BaselineError(f"{file}: is no baseline") from error
        return cls(file, known)

    def with_found(self, found: Counts, judged: Callable[[Spot], bool]) -> Baseline:
        """All that was found, and of what was not ``judged`` in this run what was known before."""
        kept = {spot: number for spot, number in self.known.items() if not judged(spot)}
        return Baseline(self.file, kept | dict(found))

    def shrunk(self, found: Counts, judged: Callable[[Spot], bool]) -> Baseline:
        """Without what is not found any more, where this run ``judged`` it."""
        known = {
            spot: min(number, found.get(spot, 0)) if judged(spot) else number
            for spot, number in self.known.items()
        }
        return Baseline(self.file, {spot: number for spot, number in known.items() if number})

    def write(self) -> None:
        """Put it in place of the file. Raises `BaselineError`."""
        document: dict[str, dict[str, dict[str, int]]] = {}
        folder = self.file.absolute().parent
        for spot, number in sorted(self.known.items()):
            path = os.path.relpath(os.path.abspath(spot.filename), folder).replace(os.sep, "/")
            document.setdefault(path, {}).setdefault(spot.code, {})[spot.definition] = number
        text = json.dumps({"version": _VERSION, "findings": document}, indent=2) + "\n"
        temporary = self.file.with_name(f"{self.file.name}.{os.getpid()}.tmp")
        try:
            temporary.write_text(text)
            os.replace(temporary, self.file)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise BaselineError(f"{self.file}: cannot be written: {error.strerror or error}") from error


def _name(file: Path, path: str) -> str:
    """The name that the file has in this run's findings."""
    from lorascale_lint.sources.discovery import display_path

    return str(display_path(file.absolute().parent / path))


def _number(number: Any) -> int:
    if isinstance(number, int) and not isinstance(number, bool) and number > 0:
        return number
    raise ValueError(number)
