"""The one place where `verify` starts a process.

`find_containment` says what this machine can keep of the promises, `Room.start` runs a command in a room of
its own, `output_of` runs a short one to its end.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from lorascale_lint.verify.isolation.promises import Containment, Isolation, Promise
from lorascale_lint.verify.isolation.warden import Plan
from lorascale_lint.verify.processes import MARK, held_memory

# Bytes that a room may hold where nothing else is said.
DEFAULT_SIZE = 4 * 2**30

_NAMESPACES = ("--net", "--pid", "--ipc", "--mount", "--fork", "--kill-child", "--mount-proc")
# A user namespace needs no rights, and takes those over other processes away. Where it is not allowed, an
# administrator can do without.
_WAYS = (("--user", "--map-current-user", "--keep-caps", *_NAMESPACES), _NAMESPACES)
# Seconds for what takes a fraction of one.
_PATIENCE = 20.0
_POLL = 0.01
_OWN_ROOT = Path(__file__).resolve().parents[3]


class RoomError(Exception):
    """No process could be started at all."""


@dataclass(frozen=True, slots=True)
class Room:
    """A folder and what may be done in it. `home` is writable, and so is the file `results`."""

    containment: Containment
    folder: Path
    size: int = DEFAULT_SIZE
    cards: bool = False

    @classmethod
    def new(cls, containment: Containment, *, size: int = DEFAULT_SIZE, cards: bool = False) -> Room:
        """A room with a name that nobody has; its keeper makes the folder. `cards`: with graphics cards."""
        name = f"lorascale-verify-{secrets.token_hex(8)}"
        return cls(containment, Path(tempfile.gettempdir()).resolve() / name, size, cards)

    @property
    def home(self) -> Path:
        """Working directory, home and temporary folder of the process."""
        return self.folder / "home"

    @property
    def results(self) -> Path:
        """What the process has to say."""
        return self.folder / "events.jsonl"

    def start(
        self, command: Sequence[str], environment: Mapping[str, str], files: Mapping[str, str] | None = None
    ) -> Guest:
        """Start a process. `files` (name to content) lie in the room's folder. Raises RoomError."""
        mark = str(self.folder)
        plan = Plan(
            command=tuple(command),
            environment={**environment, MARK: mark},
            home=str(self.home),
            results=str(self.results),
            size=self.size,
            cards=self.cards,
            namespaces=self.containment.unshare is not None,
            sockets=tuple(_sockets()) if self.containment.unshare is not None else (),
        )
        told = {
            "folder": str(self.folder),
            "files": {"plan.json": plan.as_json(), "events.jsonl": "", "output.log": "", **(files or {})},
            "command": [*_with_parent(), *self._enter(), *_python("warden", str(self.folder / "plan.json"))],
            "mark": mark,
        }
        keeper = subprocess.Popen(
            _python("keeper"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            # What is not in its environment cannot be read there.
            env={name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ},
            start_new_session=True,
        )
        return Guest(keeper, self, told)

    def _enter(self) -> list[str]:
        if self.containment.unshare is None:
            return []
        return ["unshare", *self.containment.unshare, "--"]


class Guest:
    """A process in a room, seen from outside. Leaving the `with` ends it and all that it started."""

    def __init__(self, keeper: subprocess.Popen[bytes], room: Room, told: Mapping[str, Any]) -> None:
        self._keeper = keeper
        self._room = room
        self._said: dict[str, Any] = {}
        self._rest = b""
        assert keeper.stdin is not None
        assert keeper.stdout is not None
        self._stdin, self._stdout = keeper.stdin, keeper.stdout
        os.set_blocking(self._stdout.fileno(), False)
        try:
            with contextlib.suppress(BrokenPipeError):
                self._stdin.write(json.dumps(told).encode() + b"\n")
                self._stdin.flush()
            self._await("process")
            # What the process puts in their place is not what is read here.
            self.results: IO[bytes] = open(room.results, "rb")  # noqa: SIM115 (closed by `end`)
            self._output: IO[bytes] = open(room.folder / "output.log", "rb")  # noqa: SIM115
        except BaseException:
            self._let_go()
            raise

    def __enter__(self) -> Guest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def poll(self) -> int | None:
        """The exit status (negative: the signal) once the process has ended."""
        self._listen()
        status = self._said.get("ended")
        return status if isinstance(status, int) else None

    def wait(self, seconds: float) -> int | None:
        """As `poll`, after at most so many seconds."""
        deadline = time.monotonic() + seconds
        while (status := self.poll()) is None and time.monotonic() < deadline:
            time.sleep(_POLL)
        return status

    @property
    def broken(self) -> Mapping[Promise, str] | None:
        """The promises that the warden could not keep; None: it was not there to say it."""
        self._listen()
        said = self._said.get("broken")
        return None if said is None else {Promise(name): str(reason) for name, reason in said.items()}

    @property
    def output_size(self) -> int:
        """Bytes printed so far."""
        return os.fstat(self._output.fileno()).st_size

    def output(self, last: int) -> str:
        """The last so many bytes of what was printed."""
        start = max(0, self.output_size - last)
        return os.pread(self._output.fileno(), last, start).decode("utf-8", errors="replace")

    def held_memory(self) -> int:
        """Bytes that the process and all that it started hold for themselves alone."""
        return held_memory(self._keeper.pid, str(self._room.folder))

    def end(self) -> None:
        """End the process and all that it started, and remove the folder."""
        self._let_go()
        self.results.close()
        self._output.close()

    def _let_go(self) -> None:
        with contextlib.suppress(OSError):
            self._stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._keeper.wait(_PATIENCE)
        if self._keeper.returncode != 0:
            # It was killed, and could not do what it is there for.
            shutil.rmtree(self._room.folder, ignore_errors=True)
        self._stdout.close()

    def _await(self, word: str) -> None:
        deadline = time.monotonic() + _PATIENCE
        while word not in self._said:
            gone = self._keeper.poll() is not None
            self._listen()
            if word not in self._said and (gone or time.monotonic() > deadline):
                raise RoomError(f"no process could be started in {self._room.folder.parent}")
            time.sleep(_POLL / 4)

    def _listen(self) -> None:
        while piece := self._stdout.read(4096):
            self._rest += piece
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            for word, value in json.loads(line).items():
                # The warden's word comes first, and is the better one: it knows the signal.
                self._said.setdefault(word, value)


def find_containment(isolation: Isolation = Isolation.AUTO) -> Containment:
    """What can be kept of the promises here, by trying it with a process that does nothing."""
    if isolation is Isolation.OFF:
        return Containment.none("switched off by --isolation off")
    if sys.platform != "linux":
        return Containment.none("this system has no namespaces")
    return _try_all()


@functools.cache
def _try_all() -> Containment:
    for program in ("unshare", "mount", "setpriv"):
        if shutil.which(program) is None:
            return Containment.none(f"the program {program} is not installed")
    refusals = []
    for way in _WAYS:
        with Room.new(Containment(way)).start(
            ["true"], {"PATH": os.environ.get("PATH", os.defpath)}
        ) as guest:
            status = guest.wait(_PATIENCE)
            if status == 0 and (broken := guest.broken) is not None:
                return Containment(way, broken)
            refusals.append(" ".join(guest.output(500).split()) or f"status {status}")
    return Containment.none(f"this machine does not allow namespaces: {refusals[0]}")


def output_of(
    command: Sequence[str], environment: Mapping[str, str], seconds: float, *, cards: bool = False
) -> str | None:
    """What a command prints; None if it takes longer. Raises RoomError."""
    with Room.new(find_containment(), cards=cards).start(command, environment) as guest:
        return None if guest.wait(seconds) is None else guest.output(2**20)


def _python(module: str, *arguments: str) -> list[str]:
    """A Python process that sees the standard library and this package, and nothing of its surroundings."""
    program = (
        f"import sys; sys.path.append({str(_OWN_ROOT)!r}); "
        f"from lorascale_lint.verify.isolation.{module} import main; sys.exit(main(sys.argv[1:]))"
    )
    return [sys.executable, "-I", "-S", "-c", program, *arguments]


def _with_parent() -> list[str]:
    """Have the kernel end what follows should the keeper be killed."""
    return ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []


def _sockets() -> Iterator[str]:
    """The sockets in the file system to which programs of this machine listen."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/net/unix").read_text(errors="surrogateescape").splitlines()[1:]:
            fields = line.split(None, 7)
            if len(fields) == 8 and fields[7].startswith("/"):
                yield fields[7]
