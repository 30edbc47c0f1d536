"""A project as it is sent to other processes, and a share of its files looked at there."""

from __future__ import annotations

import pickle
import sys
import threading
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import lorascale_lint
from lorascale_lint.cache import code_digest
from lorascale_lint.collecting import rarely_collected
from lorascale_lint.errors import InputError
from lorascale_lint.knowledge import project as words
from lorascale_lint.linking.program import Program
from lorascale_lint.provenance.driver import examine_share
from lorascale_lint.rooms import room
from lorascale_lint.sources.texts import Texts
from lorascale_lint.workers.packing import Places, packed


@dataclass(frozen=True, slots=True)
class Project:
    """Everything that looking at files depends on."""

    sources: dict[Path, bytes]
    modules: dict[str, str]
    words: words.Words
    program: str
    """The program and the interpreter that answers must come from: nodes are counted in their trees."""

    def sent(self) -> bytes:
        """The project as bytes."""
        return zlib.compress(pickle.dumps(self, protocol=5), 1)


def project_of(sources: Mapping[Path, bytes], modules: Mapping[Path, str]) -> Project:
    """The project as it is here and now."""
    named = {str(path): module for path, module in modules.items()}
    return Project(dict(sources), named, words.in_force(), program())


@cache
def program() -> str:
    """This interpreter and this program, to the letter."""
    digest = code_digest(tuple(Path(folder) for folder in lorascale_lint.__path__))
    return f"Python {sys.version_info.major}.{sys.version_info.minor}, lorascale-lint {digest.hex()[:12]}"


class Received:
    """A project in the process that looks at shares of its files, one at a time."""

    def __init__(self, project: Project) -> None:
        if project.program != program():
            raise InputError(f"a worker has {program()}, and this is {project.program}")
        self._project = project
        self.places = Places(Program(Texts(project.sources), project.modules))

    def __reduce__(self) -> tuple[type[Received], tuple[Project]]:
        return Received, (self._project,)

    @classmethod
    def of(cls, sent: bytes) -> Received:
        """The project that was sent. Raises `InputError` where the worker has another program."""
        project = pickle.loads(zlib.decompress(sent))
        assert isinstance(project, Project)
        return cls(project)

    def examine(self, number: int, share: tuple[str, ...]) -> bytes:
        """What is seen in some files, for `lorascale_lint.workers.packing.unpacked`."""
        with _ONE_AT_A_TIME, room(), rarely_collected():
            words.use(self._project.words)
            machine = examine_share(self.places.program, share, number)
            return packed(machine.looked_at, machine.ledger, self.places)


_ONE_AT_A_TIME = threading.Lock()
"""Words, and the depth of calls, hold for a whole process; a worker of a cluster may have several threads."""
