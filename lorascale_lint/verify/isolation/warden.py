"""The first process of a room, inside its namespaces (where there are any).

Reads a `Plan`, shuts the room, says on stdout which promises it could not keep, starts the command, and ends
with it. In a PID namespace everything else ends with this process, by the kernel's hand.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import resource
import shutil
import socket
import stat
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lorascale_lint.verify.isolation.promises import Promise

_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1
_DEVICES = ("null", "zero", "full", "random", "urandom")
# Of a graphics card, for runs on one.
_CARDS = ("nvidia*", "dri", "kfd")
# The last lines of what a command said that are shown as the reason of its failure.
_REASON = 200


@dataclass(frozen=True, slots=True)
class Plan:
    """What the warden does. Only `home` and `results` can be written to from inside.

    `size`: bytes that one file, and where there are namespaces the whole of `home`, may have. `cards`: the
    devices of graphics cards are there too. `sockets` are those of other programs.
    """

    command: tuple[str, ...]
    environment: dict[str, str]
    home: str
    results: str
    size: int
    cards: bool = False
    namespaces: bool = True
    sockets: tuple[str, ...] = ()

    def as_json(self) -> str:
        """For `read`."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, path: Path) -> Plan:
        """The inverse of `as_json`. Raises OSError, ValueError, TypeError."""
        data = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**data, "command": tuple(data["command"]), "sockets": tuple(data["sockets"])})


class _RefusedError(Exception):
    """A step that this machine does not allow."""


def main(arguments: Sequence[str]) -> int:
    """Shut the room, run the command, bury the dead; returns 0."""
    plan = Plan.read(Path(arguments[0]))
    broken = _shut(plan) if plan.namespaces else {}
    _say(broken={promise.value: reason for promise, reason in broken.items()})
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, plan.size)
    try:
        process = subprocess.Popen(
            [*_without_rights(plan), *plan.command],
            stdin=subprocess.DEVNULL,
            # Opened by the keeper: a file opened here would keep its file system from being read-only.
            stdout=sys.stderr,
            stderr=sys.stderr,
            cwd=plan.home,
            env=plan.environment,
            # Without namespaces the process group is what the keeper can be sure to end.
            start_new_session=plan.namespaces,
        )
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        _say(ended=127)
        return 0
    _say(ended=_wait(process))
    return 0


def _say(**line: object) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def _wait(process: subprocess.Popen[bytes]) -> int:
    """The child's status. The first process of a PID namespace inherits every orphan, and has to bury it."""
    while True:
        number, status = os.wait()
        if number == process.pid:
            return os.waitstatus_to_exitcode(status)


def _lower(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    least = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (least, least))


def _without_rights(plan: Plan) -> list[str]:
    """Run what follows without the rights that shutting the room takes, for good."""
    if not plan.namespaces:
        return []
    drop = ["--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"]
    return [_program("setpriv"), *drop, "--"]


def _shut(plan: Plan) -> dict[Promise, str]:
    broken: dict[Promise, str] = {}
    steps: tuple[tuple[Promise, Callable[[Plan], None]], ...] = (
        # Without it two processes of one run could not talk to each other either.
        (Promise.NETWORK, lambda _plan: _loopback_up()),
        (Promise.SERVICES, _hide_sockets),
        (Promise.WRITES, _only_the_room_is_writable),
    )
    for promise, step in steps:
        try:
            step(plan)
        except (_RefusedError, OSError) as error:
            broken[promise] = " ".join(str(error).split())[-_REASON:]
    return broken


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        fcntl.ioctl(channel, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _IFF_UP))


def _hide_sockets(plan: Plan) -> None:
    """A socket in the file system is reached from any network namespace."""
    for path in plan.sockets:
        if os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode):
            _mount("--bind", "/dev/null", path)


def _only_the_room_is_writable(plan: Plan) -> None:
    # In this order: without a folder that can be written to nothing could be run.
    _own_devices(plan)
    _own_folder(plan)
    _all_else_read_only(plan)


def _own_devices(plan: Plan) -> None:
    """Disks and terminals are files too, and a read-only file system does not protect them."""
    new = Path(plan.home)
    _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", str(new))
    found = [Path("/dev", name) for name in _DEVICES]
    if plan.cards:
        found += [path for pattern in _CARDS for path in Path("/dev").glob(pattern)]
    for device in found:
        place = new / device.name
        place.mkdir() if device.is_dir() else place.touch()
        _mount("--rbind", str(device), str(place))
    for name, target in {"fd": "fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}.items():
        (new / name).symlink_to(f"/proc/self/{target}")
    shared = new / "shm"
    shared.mkdir()
    _mount("-t", "tmpfs", "-o", f"mode=1777,size={plan.size}", "tmpfs", str(shared))
    _mount("--move", str(new), "/dev")


def _own_folder(plan: Plan) -> None:
    _mount("-t", "tmpfs", "-o", f"mode=700,size={plan.size}", "tmpfs", plan.home)
    _mount("--bind", plan.results, plan.results)


def _all_else_read_only(plan: Plan) -> None:
    kept = {plan.home, plan.results, "/dev/shm"}
    failed = []
    for place, options in _mounts():
        if place in kept or "ro" in options or not os.path.lexists(place):
            continue
        # The other options have to be given again: leaving one out is a right that is missing here.
        wanted = ["remount", "bind", "ro", *(option for option in options if option != "rw")]
        try:
            _mount("-o", ",".join(wanted), place)
        except _RefusedError as error:
            failed.append(str(error))
    if failed:
        raise _RefusedError(failed[0])


def _mounts() -> Iterator[tuple[str, list[str]]]:
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        fields = line.split(" ")
        place = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), fields[4])
        yield place, fields[5].split(",")


def _mount(*arguments: str) -> None:
    # Not recorded in /etc/mtab, no helper programs.
    done = subprocess.run(
        [_program("mount"), "-n", "-i", *arguments], capture_output=True, text=True, check=False, env={}
    )
    if done.returncode != 0:
        raise _RefusedError(done.stderr.strip() or f"mount {' '.join(arguments)}: status {done.returncode}")


def _program(name: str) -> str:
    found = shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin:/run/current-system/sw/bin")
    if found is None:
        raise _RefusedError(f"{name} is not installed")
    return found
