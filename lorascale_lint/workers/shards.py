"""A run in shares that know nothing of each other, as the jobs of a CI matrix do, and put together later.

A share keeps what it saw in its files, not what it thinks of it: whether something is a mistake may depend
on a file of another share. `merge-reports` asks the rules, so the findings are those of one run.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lorascale_lint.bounds import SHARD_BYTES
from lorascale_lint.errors import InputError
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.reading import read_regular
from lorascale_lint.workers.executors import Submit
from lorascale_lint.workers.packing import packed
from lorascale_lint.workers.projects import Project, Received

_HEADER = "shard.json"


@dataclass(frozen=True, slots=True)
class Shard:
    """The share ``index`` of ``count``; as workers it looks at its files, and at no others."""

    index: int
    count: int
    answers: dict[tuple[str, ...], bytes] = field(default_factory=dict)
    of: list[str] = field(default_factory=list)
    """The digest of the project, once it is known."""
    deaths: tuple[type[Exception], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Shard:
        """``I/N``, counted from 1. Raises `InputError`."""
        index, _, count = text.partition("/")
        if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
            raise InputError(f"--shard {text}: is not I/N, as 1/4")
        return cls(int(index), int(count))

    @contextmanager
    def open(self, project: Project, shares: Sequence[tuple[str, ...]]) -> Iterator[Submit]:
        """Look at the folders of this share, which are every so manieth in the order of their sizes."""
        received = Received(project)
        self.of[:] = [_digest(project)]
        nothing = packed(set(), Ledger(), received.places)

        def size(share: tuple[str, ...]) -> int:
            return sum(len(project.sources[Path(name)]) for name in share)

        own = set(sorted(shares, key=lambda share: (size(share), share))[self.index - 1 :: self.count])

        def submit(number: int, share: tuple[str, ...]) -> Future[bytes]:
            if share in own:
                self.answers[share] = received.examine(number, share)
            return _done(self.answers.get(share, nothing))

        yield submit

    def write(self, path: Path, paths: Sequence[str]) -> None:
        """Keep what was seen. Raises `InputError`."""
        header = {
            "shard": [self.index, self.count],
            "paths": paths,
            "of": self.of,
            "files": [list(share) for share in self.answers],
        }
        try:
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
                file.writestr(_HEADER, json.dumps(header))
                for number, answer in enumerate(self.answers.values()):
                    file.writestr(str(number), answer)
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error


_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError)
"""What `zipfile` raises in an archive that somebody else has written."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What all shares of a run saw, in place of workers."""

    paths: tuple[str, ...]
    of: frozenset[str]
    answers: dict[tuple[str, ...], bytes]
    deaths: tuple[type[Exception], ...] = ()

    @classmethod
    def read(cls, reports: Sequence[Path]) -> Merged:
        """Read what every share wrote. Raises `InputError` unless they are all the shares of one run."""
        headers: list[dict[str, Any]] = []
        answers: dict[tuple[str, ...], bytes] = {}
        for path in reports:
            try:
                with zipfile.ZipFile(io.BytesIO(read_regular(path, SHARD_BYTES))) as file:
                    if sum(item.file_size for item in file.infolist()) > SHARD_BYTES:
                        raise InputError(f"{path}: holds more than {SHARD_BYTES} bytes")
                    headers.append(json.loads(file.read(_HEADER)))
                    kept = enumerate(headers[-1]["files"])
                    answers |= {tuple(share): file.read(str(number)) for number, share in kept}
            except (OSError, LookupError, ValueError, TypeError, *_DAMAGED) as error:
                raise InputError(f"{path}: is not what --shard has written: {error}") from error
        try:
            missing = {index + 1 for index in range(headers[0]["shard"][1])}
            missing -= {header["shard"][0] for header in headers}
            runs = {(*header["paths"], header["shard"][1]) for header in headers}
            of = frozenset(one for header in headers for one in header["of"])
        except (LookupError, TypeError) as error:
            raise InputError(f"{reports[0]}: is not what --shard has written: {error}") from error
        if missing:
            raise InputError(f"there is no report of shard {', '.join(map(str, sorted(missing)))}")
        if len(runs) > 1 or len(of) > 1:
            raise InputError("the reports are of different runs")
        return cls(tuple(runs.pop()[:-1]), of, answers)

    @contextmanager
    def open(self, project: Project, shares: Sequence[tuple[str, ...]]) -> Iterator[Submit]:
        """Answer with what was seen. Raises `InputError` where something has changed since."""
        if self.of != {_digest(project)}:
            raise InputError("the reports are of other files, settings, or of another version, than are here")
        if missing := [share for share in shares if share not in self.answers]:
            raise InputError(f"no report has seen {missing[0][0]}")
        yield lambda number, share: _done(self.answers[share])


def _done(answer: bytes) -> Future[bytes]:
    future: Future[bytes] = Future()
    future.set_result(answer)
    return future


def _digest(project: Project) -> str:
    digest = hashlib.sha256(repr((project.program, project.words, sorted(project.modules.items()))).encode())
    for path, data in sorted(project.sources.items()):
        digest.update(hashlib.sha256(data).digest() + str(path).encode(errors="surrogatepass"))
    return digest.hexdigest()
