"""Children of `verify` that need not import torch: each is forked from a process that has.

To import torch takes most of the time of a run. What a child is asked and answers is the same; only the room
around it is missing, which `test_isolation`, `test_run` and others test with children of their own.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import pytest

from lorascale_lint.verify import session
from lorascale_lint.verify.environment import environment_of
from lorascale_lint.verify.isolation.room import Guest, Room
from lorascale_lint.verify.order import Order
from lorascale_lint.verify.processes import held_memory

_HERE = Path(__file__).parents[2]
_PLAIN = [sys.executable, "-P", "-m", "lorascale_lint.verify.child"]
_POLL = 0.01
_PATIENCE = 60.0


class Nursery:
    """The process that has imported torch, seen from a test."""

    def __init__(self, home: Path) -> None:
        blank = Order(factory="", package="", import_mode="", seed=0, results="", folder="", device="cpu")
        program = f"import sys; sys.path.append({str(_HERE)!r}); from tests.verify.warm import serve; serve()"
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment_of(home, blank),
            cwd=home,
            bufsize=0,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._rest = b""
        self.born: list[int] = []
        self.ended: dict[int, int] = {}

    def bear(self, asked: Mapping[str, Any]) -> int:
        """Fork a child; its process id."""
        before = len(self.born)
        self._stdin.write(json.dumps(asked).encode() + b"\n")
        deadline = time.monotonic() + _PATIENCE
        while len(self.born) == before:
            assert time.monotonic() < deadline, "no child in a minute"
            self.listen(_POLL)
        return self.born[-1]

    def listen(self, seconds: float = 0.0) -> None:
        """Hear who was born and who has ended."""
        while select.select([self._stdout], [], [], seconds)[0]:
            piece = os.read(self._stdout.fileno(), 4096)
            assert piece, "the process that has imported torch is gone"
            *lines, self._rest = (self._rest + piece).split(b"\n")
            for line in lines:
                said = json.loads(line)
                if "ended" in said:
                    self.ended[said["process"]] = said["ended"]
                else:
                    self.born.append(said["process"])

    def close(self) -> None:
        """End it."""
        self._stdin.close()
        self._process.wait(_PATIENCE)
        self._stdout.close()


class WarmGuest:
    """As `Guest`: a child in a folder."""

    def __init__(self, nursery: Nursery, folder: Path, process: int) -> None:
        self._nursery = nursery
        self._folder = folder
        self._process = process
        self.results: IO[bytes] = open(folder / "events.jsonl", "rb")  # noqa: SIM115 (closed by `end`)
        self._output: IO[bytes] = open(folder / "output.log", "rb")  # noqa: SIM115

    def __enter__(self) -> WarmGuest:
        return self

    def __exit__(self, *_error: object) -> None:
        for _ in range(500):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process, signal.SIGKILL)
            if self.poll() is not None:
                break
            time.sleep(_POLL)
        self.results.close()
        self._output.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def poll(self) -> int | None:
        """The exit status (negative: the signal) once the child has ended."""
        self._nursery.listen()
        return self._nursery.ended.get(self._process)

    @property
    def output_size(self) -> int:
        """Bytes printed so far."""
        return os.fstat(self._output.fileno()).st_size

    def output(self, last: int) -> str:
        """The last so many bytes of what was printed."""
        start = max(0, self.output_size - last)
        return os.pread(self._output.fileno(), last, start).decode("utf-8", errors="replace")

    def held_memory(self) -> int:
        """Bytes that the child and all that it started hold."""
        return held_memory(self._process, str(self._folder))


class WarmRoom(Room):
    """A folder; whatever is no plain child gets a room of its own."""

    nursery: Nursery

    def start(
        self, command: Sequence[str], environment: Mapping[str, str], files: Mapping[str, str] | None = None
    ) -> Guest:
        """Fork a child."""
        # What is set for torch before it is imported can't be changed in a child.
        same = "TORCHDYNAMO_DISABLE" in environment and not environment.get("CUDA_VISIBLE_DEVICES")
        if [*command[:-1]] != _PLAIN or not same:
            return super().start(command, environment, files)
        self.home.mkdir(parents=True, mode=0o700)
        for name, content in {"events.jsonl": "", "output.log": "", **(files or {})}.items():
            (self.folder / name).write_text(content, encoding="utf-8")
        asked = {"order": command[-1], "environment": dict(environment), "home": str(self.home)}
        process = self.nursery.bear({**asked, "size": self.size, "log": str(self.folder / "output.log")})
        guest: Any = WarmGuest(self.nursery, self.folder, process)
        return guest  # type: ignore[no-any-return]


@contextlib.contextmanager
def warm_children(nursery: Nursery) -> Iterator[None]:
    """Plain children are forked as long as this lasts."""
    WarmRoom.nursery = nursery
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "Room", WarmRoom)
        yield


def serve() -> None:
    """Import torch and fork a child for each line on stdin, until its end."""
    import torch  # noqa: F401 (that is what this process is for)

    from lorascale_lint.verify import child

    heard = b""
    while True:
        if select.select([0], [], [], _POLL)[0]:
            piece = os.read(0, 1 << 16)
            if not piece:
                return
            *lines, heard = (heard + piece).split(b"\n")
            for line in lines:
                process = os.fork()
                if process == 0:
                    _be_child(child.main, json.loads(line))
                _tell(process=process)
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                _tell(process=found[0], ended=os.waitstatus_to_exitcode(found[1]))


def _tell(**said: int) -> None:
    os.write(1, json.dumps(said).encode() + b"\n")


def _be_child(main: Any, asked: Mapping[str, Any]) -> None:
    status = 1
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (asked["size"], asked["size"]))
        log = os.open(asked["log"], os.O_WRONLY | os.O_APPEND)
        for number, place in ((os.open(os.devnull, os.O_RDONLY), 0), (log, 1), (log, 2)):
            os.dup2(number, place)
        os.chdir(asked["home"])
        os.environ.clear()
        os.environ.update(asked["environment"])
        sys.argv = ["child", asked["order"]]
        status = main([asked["order"]])
        sys.stdout.flush()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)
