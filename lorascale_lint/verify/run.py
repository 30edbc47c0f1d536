"""The parent process: start the child, follow its events, end it, and say what is known.

Imports neither torch nor the target. Each child has a room of its own (`isolation`), so that nothing of it
survives.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import os
import re
import secrets
import signal
import site
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from lorascale_lint.verify.devices import choose_device
from lorascale_lint.verify.harness.description import Sketch, as_json
from lorascale_lint.verify.harness.report import shown_rows
from lorascale_lint.verify.interpreters import elsewhere, why_unfit
from lorascale_lint.verify.isolation.promises import Containment, Isolation
from lorascale_lint.verify.isolation.room import DEFAULT_SIZE, Guest, Room, RoomError, find_containment
from lorascale_lint.verify.order import IMPORT_FAILED, Order
from lorascale_lint.verify.processes import available_memory, can_watch
from lorascale_lint.verify.real_adapters import BaseWeights, read_modules
from lorascale_lint.verify.registry import (
    HARNESS,
    DriverEntry,
    NoDriverError,
    Requirement,
    UnknownDriverError,
    choose,
)
from lorascale_lint.verify.report import Problem, Target, VerifyReport
from lorascale_lint.verify.verdicts import Row, Verdict

# Seconds. A cold import of the largest target took 17; a scenario takes a fraction of one.
IMPORT_TIMEOUT = 180.0
SCENARIO_TIMEOUT = 60.0
# A forward took 18 s to compile; a scenario has two at most, and each rank compiles its own.
COMPILED_TIMEOUT = 180.0
# A target that kills its process again and again is not worth importing for every one of its scenarios.
MAX_RESTARTS = 5
# Of a whole project, where each application is another piece of code.
MAX_HARNESS_RESTARTS = 20
# Bytes of output after which a child is stopped: a target that prints without end must not fill the disk.
MAX_OUTPUT = 64 * 1024 * 1024
# Bytes of results; the 5,000 modules of a large adapter take 3 MiB.
MAX_EVENTS = 64 * 1024 * 1024

_POLL = 0.05
# Seconds between looks at the memory, each of which takes a few milliseconds.
_WATCH = 0.2
# Of the memory that is available: the rest is for what the machine does beside.
_MEMORY_SHARE = 0.75
# Scenarios after which their pace says something.
_PACED = 3
# Bytes of a child's output that are looked at for its last words.
_TAIL = 20_000
_PIECE = 2**20
_DESCRIPTIONS = "harness.json"
# What torchrun says of the rank that failed first; it ends the others then.
_FIRST_RANK = re.compile(r"Root Cause.*?rank\s*: (\d+).*?exitcode\s*: (-?\d+)", re.DOTALL)
_KEPT_ENVIRONMENT = (
    "PATH",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "VIRTUAL_ENV",
    "SYSTEMROOT",
)

Progress = Callable[[str], None]


def run_verify(
    path: Path,
    *,
    driver: str | None = None,
    seed: int | None = None,
    timeout: float | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    matrix: bool = False,
    adapter: Path | None = None,
    base: Path | None = None,
    compiled: bool = False,
    memory_limit: int | None = None,
    distributed: int | None = None,
    isolation: Isolation = Isolation.AUTO,
    only: str | None = None,
    python: Path | None = None,
    sketches: tuple[Sketch, ...] = (),
    reached: bool = False,
    progress: Progress | None = None,
    warn: Progress | None = None,
) -> VerifyReport:
    """Run the LoRA code below `path` in a child process and compare it with the reference.

    `driver` names a driver (default: the one that fits the path), `seed` makes the inputs those of an
    earlier run (default: new ones), `timeout` is how many seconds a single scenario may take (default 60;
    the import may take 180, or `timeout` if that is more). `device` is "auto", "cpu", "cuda" or "cuda:N";
    `dtype` is the floating-point type of single layers (models are float32). With `matrix`, a model is given
    adapter files, one of each kind (`file_kinds`). With `adapter` (a safetensors file, or a folder) each of
    its modules is put through the loader, into a weight of type `dtype` that is random, or that of the files
    in `base`. `compiled` runs forwards under `torch.compile`. `memory_limit` is how many bytes the child and
    what it starts may hold (default: three quarters of what is available). `distributed` is how many
    processes, started by torchrun, share each layer. `isolation` says what to do where this machine cannot
    keep a promise (`isolation.promises`). The harness runs `only` the function or class at "FILE:ROW", or
    `sketches` that the caller has, and with `reached` each row says what it executed. `python` is the
    interpreter of another environment that the child runs in (Python 3.11 or newer). `progress` is called
    with short lines for a person, `warn`, before anything is run, with each promise that is not kept.

    Never raises for what the target does; an unknown path or driver and a failed import are in the report.
    Raises InputError if the adapter or the base cannot be read.
    """
    chosen_seed = secrets.randbelow(2**31) if seed is None else seed
    say = progress or (lambda _line: None)
    if only is not None:
        driver = driver or HARNESS.name
    try:
        try:
            entry, package = choose(path, driver)
        except NoDriverError as error:
            if not (sketches := sketches or _sketches(path, only, say)):
                raise UnknownDriverError(
                    f"{error} No place is seen in which a delta is applied, either."
                ) from error
            entry, package = HARNESS, path.resolve()
        if entry is HARNESS and not (sketches := sketches or _sketches(path, only, say)):
            raise UnknownDriverError(f"{only or path}: no place is seen in which a delta is applied.")
    except UnknownDriverError as error:
        return VerifyReport(target=Target(path=str(path)), seed=chosen_seed, problem=Problem(2, str(error)))
    target = Target(path=str(package), driver=entry.name)
    if adapter is not None:
        # Now rather than in the child, so that a file that cannot be read is an error of its own.
        read_modules(adapter, dtype)
        BaseWeights(base)
    missing = _missing(entry.requirements) if python is None else []
    if missing:
        needed = [*missing, *_missing(entry.full_requirements)]
        return VerifyReport(target=target, seed=chosen_seed, problem=_packages_problem(needed))
    place = choose_device(device, entry, distributed or 1)
    if isinstance(place, Problem):
        return VerifyReport(target=target, seed=chosen_seed, problem=place)
    if distributed and not entry.distributed:
        problem = Problem(3, f"The driver {entry.name} runs in one process only.")
        return VerifyReport(target=target, seed=chosen_seed, problem=problem)
    if memory_limit is not None and not can_watch():
        problem = Problem(3, "The memory of processes cannot be watched on this system (it has no /proc).")
        return VerifyReport(target=target, seed=chosen_seed, problem=problem)
    if python is not None and (unfit := why_unfit(python)):
        return VerifyReport(target=target, seed=chosen_seed, problem=Problem(3, unfit))
    containment = find_containment(isolation)
    unkept = tuple(containment.sentences())
    if unkept and isolation is Isolation.REQUIRED:
        return VerifyReport(
            target=target, seed=chosen_seed, problem=Problem(3, f"Nothing was run. {'. '.join(unkept)}.")
        )
    for sentence in unkept:
        (warn or say)(sentence)
    blank = Order(
        factory=entry.factory,
        package=str(package),
        import_mode="",
        seed=chosen_seed,
        results="",
        folder="",
        device=place,
        dtype=dtype,
        matrix=matrix,
        adapter="" if adapter is None else str(adapter.resolve()),
        base="" if base is None else str(base.resolve()),
        compiled=compiled,
        ranks=distributed or 1,
        reached=reached,
    )
    limits = _Limits.of(timeout, memory_limit, slow=compiled)
    try:
        descriptions = as_json(sketches) if sketches else ""
        report = _Session(entry, blank, containment, limits, say, descriptions, python).run(target)
    except RoomError as error:
        report = VerifyReport(
            target=target, seed=chosen_seed, problem=Problem(2, f"Nothing was run: {error}")
        )
    return replace(report, containment=containment)


def _sketches(path: Path, only: str | None, say: Progress) -> tuple[Sketch, ...]:
    # Analysis needs LibCST, which drivers do without.
    from lorascale_lint.verify.harness.places import sketches_at
    from lorascale_lint.verify.harness.sketches import sketches_of

    say(f"looking for applications in {only or path}")
    return sketches_of(path) if only is None else sketches_at(path, only)


@dataclass(frozen=True, slots=True)
class _Limits:
    """What a child may take: seconds until it is imported and for a scenario, bytes (None: any)."""

    importing: float
    scenario: float
    memory: int | None

    @property
    def size(self) -> int:
        """Bytes of files, which are held in memory where there are namespaces."""
        return min(DEFAULT_SIZE, self.memory or DEFAULT_SIZE)

    @classmethod
    def of(cls, timeout: float | None, memory: int | None, *, slow: bool) -> _Limits:
        scenario = (COMPILED_TIMEOUT if slow else SCENARIO_TIMEOUT) if timeout is None else timeout
        if memory is None and can_watch() and (available := available_memory()):
            memory = int(available * _MEMORY_SHARE)
        return cls(max(IMPORT_TIMEOUT, timeout or 0.0), scenario, memory)


def _missing(requirements: tuple[Requirement, ...]) -> list[Requirement]:
    return [item for item in requirements if importlib.util.find_spec(item.module) is None]


def _packages_problem(missing: list[Requirement]) -> Problem:
    names = " ".join(sorted({item.package for item in missing}))
    return Problem(
        3,
        f"The target cannot be run, packages are missing: {names.replace(' ', ', ')}. "
        f"Install them with: {sys.executable} -m pip install {names}",
    )


@dataclass(slots=True)
class _Progress:
    """What the children have told so far."""

    target: Target
    plan: list[tuple[str, list[Row]]] = field(default_factory=list)
    rows: dict[str, list[Row]] = field(default_factory=dict)
    begun: list[str] = field(default_factory=list)
    import_error: str = ""
    missing: str | None = None
    impossible: str = ""
    ranks: int = 1
    ranked: dict[str, dict[int, list[Row]]] = field(default_factory=dict)
    finished_ranks: int = 0
    notes: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    @property
    def owing(self) -> list[str]:
        """The scenarios that have begun and not delivered all of their rows.

        One rank may be ahead of another by some; a single process owes one at most.
        """
        return [name for name in self.begun if len(self.rows.get(name, ())) < len(self.planned(name))]

    @property
    def finished(self) -> bool:
        """Whether every rank has come to its end."""
        return self.finished_ranks == self.ranks

    def planned(self, name: str) -> list[Row]:
        """The blank rows of a scenario."""
        return next((rows for planned, rows in self.plan if planned == name), [])

    def take(self, event: dict[str, Any]) -> str | None:
        """Take over one event; returns a line for the person, or None.

        Raises KeyError, TypeError, ValueError.
        """
        kind = event["event"]
        if kind == "started":
            self.target = replace(self.target, python=str(event["python"]))
        elif kind == "facts":
            self.target = replace(
                self.target,
                name=str(event["name"]),
                version=str(event["version"]),
                framework=str(event["framework"]),
                import_mode=str(event["import_mode"]),
                interventions=tuple(event["interventions"]),
                stubs={name: tuple(drawn) for name, drawn in event["stubs"].items()},
                replaced_modules=tuple(event["replaced_modules"]),
            )
        elif kind == "plan":
            self.plan = [
                (str(item["name"]), [Row.from_dict(row) for row in item["rows"]])
                for item in event["scenarios"]
            ]
        elif kind == "scenario":
            if not self.begun:
                self.started = time.monotonic()
            self.begun.append(str(event["name"]))
            return f"[{len(self.begun)}/{len(self.plan)}{self._pace()}] {event['name']}"
        elif kind == "row":
            row = Row.from_dict(event["row"])
            by_rank = self.ranked.setdefault(row.scenario, {})
            by_rank.setdefault(int(event["rank"]), []).append(row)
            done = self.rows.setdefault(row.scenario, [])
            if len(by_rank) == self.ranks and all(len(rows) > len(done) for rows in by_rank.values()):
                done.append(_worst({rank: rows[len(done)] for rank, rows in by_rank.items()}))
        elif kind == "impossible":
            self.impossible = str(event["reason"])
        elif kind == "note":
            if event["text"] not in self.notes:
                self.notes.append(str(event["text"]))
        elif kind == "import-failed":
            self.import_error = str(event["error"])
            self.missing = event["missing"]
        elif kind == "finished":
            self.finished_ranks += 1
        return None

    def told_by_some(self, name: str, index: int) -> str:
        """What the ranks that did answer had to say against row `index`, for a person."""
        answers = {rank: rows[index] for rank, rows in self.ranked.get(name, {}).items() if len(rows) > index}
        worst = _worst(answers) if answers else None
        return f"{worst.verdict.value}: {worst.detail}" if worst and worst.verdict is not Verdict.OK else ""

    def _pace(self) -> str:
        """How many scenarios are done in a second, and the seconds left, once that can be said."""
        done, seconds = len(self.begun) - 1, time.monotonic() - self.started
        if done < _PACED or not seconds:
            return ""
        left = (len(self.plan) - done) * seconds / done
        return f", {done / seconds:.1f} a second, {left:.0f} s left"


def _worst(rows: dict[int, Row]) -> Row:
    """One row for all ranks: every one has to be right, so it is that of the rank that is worst off."""

    def badness(item: tuple[int, Row]) -> tuple[bool, bool, float]:
        row = item[1]
        error = math.inf if row.relative_error is None else row.relative_error
        return row.verdict.is_failure, row.verdict is not Verdict.OK, error

    rank, worst = max(rows.items(), key=badness)
    if all(row.verdict is worst.verdict for row in rows.values()):
        return worst
    return replace(worst, detail="; ".join(part for part in (f"on rank {rank}", worst.detail) if part))


class _Session:
    """All children of one run; `blank` is their order without what is each child's own."""

    def __init__(
        self,
        entry: DriverEntry,
        blank: Order,
        containment: Containment,
        limits: _Limits,
        say: Progress,
        descriptions: str = "",
        python: Path | None = None,
    ) -> None:
        self.entry = entry
        self.blank = blank
        self.containment = containment
        self.say = say
        self.limits = limits
        self.descriptions = descriptions
        self.python = python

    def run(self, target: Target) -> VerifyReport:
        failures: list[str] = []
        for mode in self.entry.import_modes:
            self.say(f"importing {self.blank.package} ({mode})")
            state = _Progress(target, ranks=self.blank.ranks)
            ending = self._child(state, mode)
            if state.plan:
                notes = tuple(f"{failure}; imported another way instead" for failure in failures)
                return self._finish(state, mode, ending, notes)
            if state.impossible:
                problem = Problem(3, f"Could not be judged: {state.impossible}")
                return VerifyReport(target=target, seed=self.blank.seed, problem=problem)
            failures.append(f"{mode} import failed: {state.import_error or ending}")
            if state.missing and not self._has_other_mode(mode):
                break
        return VerifyReport(
            target=target, seed=self.blank.seed, problem=self._import_problem(state, failures)
        )

    def _has_other_mode(self, mode: str) -> bool:
        return self.entry.import_modes[-1] != mode

    def _import_problem(self, state: _Progress, failures: list[str]) -> Problem:
        """Exit 3 if a package is missing, 2 if the target itself cannot be imported."""
        top = (state.missing or "").partition(".")[0]
        own = not top or top == Path(self.blank.package).name
        if not own and importlib.util.find_spec(top) is None:
            return _packages_problem([Requirement(top, top), *_missing(self.entry.full_requirements)])
        return Problem(2, "The target cannot be imported. " + " ".join(f"{failure}." for failure in failures))

    def _finish(self, state: _Progress, mode: str, ending: str, notes: tuple[str, ...]) -> VerifyReport:
        restarts = 0
        while not state.finished:
            self._bury(state, ending)
            remaining = [name for name, _ in state.plan if name not in state.rows]
            if not remaining:
                break
            if restarts == (MAX_RESTARTS if not self.descriptions else MAX_HARNESS_RESTARTS):
                for name in remaining:
                    lost = f"not run: the process ended {restarts + 1} times before"
                    state.rows[name] = [
                        replace(row, verdict=Verdict.NOT_MEASURED, detail=lost) for row in state.planned(name)
                    ]
                break
            restarts += 1
            self.say(f"starting again after: {ending}")
            state.import_error = ""
            before = len(state.begun)
            ending = self._child(state, mode)
            if len(state.begun) == before and not state.finished:
                ending = state.import_error or ending
        rows = tuple(row for name, _ in state.plan for row in state.rows.get(name, ()))
        if self.descriptions:
            rows = shown_rows(rows)
        return VerifyReport(
            target=state.target, seed=self.blank.seed, rows=rows, notes=(*notes, *state.notes)
        )

    def _bury(self, state: _Progress, ending: str) -> None:
        """Give the rows that the dead child still owed the verdict `crashed`."""
        state.finished_ranks = 0
        owing = state.owing
        for other in owing[1:]:
            # Asked again: only some ranks have been there.
            state.begun.remove(other)
            state.rows.pop(other, None)
            state.ranked.pop(other, None)
        if not owing:
            return
        name = owing[0]
        if self.descriptions:
            # The other questions about this application would end the process as well.
            group = state.planned(name)[0].group
            for other, rows in state.plan:
                if other not in state.rows and rows[0].group == group:
                    state.rows[other] = [replace(row, verdict=Verdict.NOT_RUN, detail=ending) for row in rows]
            return
        done = state.rows.setdefault(name, [])
        for row in state.planned(name)[len(done) :]:
            told = state.told_by_some(name, len(done))
            detail = "; ".join(part for part in (ending, told) if part)
            done.append(replace(row, verdict=Verdict.CRASHED, detail=detail))

    def _child(self, state: _Progress, mode: str) -> str:
        """Run one child to its end; returns how it ended, for a person."""
        room = Room.new(self.containment, size=self.limits.size, cards=self.blank.on_card)
        order = replace(
            self.blank,
            import_mode=mode,
            results=str(room.results),
            folder=str(room.home / "adapters"),
            done=tuple(name for name, _ in state.plan if name in state.rows),
            harness=str(room.folder / _DESCRIPTIONS) if self.descriptions else "",
        )
        where = room.folder / "order.json"
        environment = _environment(room.home, self.blank)
        command = [*self._python(), "-m", "lorascale_lint.verify.child", str(where)]
        if self.python is not None:
            command, environment = elsewhere(self.python, environment, str(where))
        with room.start(
            command, environment, {where.name: order.as_json(), _DESCRIPTIONS: self.descriptions}
        ) as guest:
            return self._follow(guest, state)

    def _python(self) -> list[str]:
        if self.blank.ranks == 1:
            return [sys.executable, "-P"]
        launcher = ["-P", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
        return [sys.executable, *launcher, str(self.blank.ranks)]

    def _follow(self, guest: Guest, state: _Progress) -> str:
        watched = time.monotonic()
        already_begun = len(state.begun)
        deadline = time.monotonic() + self.limits.importing
        events = _Events(guest.results)
        while True:
            status = guest.poll()
            for event in events.read():
                with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
                    line = state.take(event)
                    if line:
                        self.say(line)
                    if event["event"] in ("plan", "scenario", "row"):
                        deadline = time.monotonic() + self.limits.scenario
            if status is not None:
                return _ending(status, guest.output(_TAIL))
            if time.monotonic() > deadline:
                importing = len(state.begun) == already_begun
                limit = self.limits.importing if importing else self.limits.scenario
                return f"no answer within {limit:g} s, stopped"
            if self.limits.memory is not None and time.monotonic() - watched > _WATCH:
                watched = time.monotonic()
                if guest.held_memory() > self.limits.memory:
                    return f"stopped when it held more than {self.limits.memory / 2**30:.3g} GiB of memory"
            if guest.output_size > MAX_OUTPUT:
                return f"stopped after printing {MAX_OUTPUT // 2**20} MiB"
            if events.overflow:
                return f"stopped after sending {MAX_EVENTS // 2**20} MiB of results"
            time.sleep(_POLL)


class _Events:
    """Whole lines of the growing event file, as objects; anything else in it is passed over.

    The code under examination can write there too, so no more than `MAX_EVENTS` bytes are read.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._rest = b""
        self._read = 0

    @property
    def overflow(self) -> bool:
        """Whether more has come than any child has to say."""
        return self._read > MAX_EVENTS

    def read(self) -> Iterator[dict[str, Any]]:
        while not self.overflow and (piece := self._stream.read(_PIECE)):
            self._read += len(piece)
            *lines, self._rest = (self._rest + piece).split(b"\n")
            for line in lines:
                try:
                    event = json.loads(line)
                # A deep nesting of brackets is no event either.
                except (ValueError, RecursionError):
                    continue
                if isinstance(event, dict):
                    yield event


def _ending(status: int, output: str) -> str:
    if status == IMPORT_FAILED:
        return "the import raised an exception"
    if status < 0:
        return f"the process {_exit_words(status)}"
    output = output.strip()
    if found := _FIRST_RANK.search(output):
        return f"rank {found[1]} {_exit_words(int(found[2]))}"
    last = f": {output.splitlines()[-1][:200]}" if output and status != 0 else ""
    return f"the process {_exit_words(status)}{last}"


def _exit_words(status: int) -> str:
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        return f"died of {signal.Signals(-status).name}"
    except ValueError:
        return f"died of signal {-status}"


def _environment(home: Path, order: Order) -> dict[str, str]:
    """A small environment of the child's own: no network, no other device, nothing written outside `home`."""
    kept = (*_KEPT_ENVIRONMENT, "CUDA_VISIBLE_DEVICES") if order.on_card else _KEPT_ENVIRONMENT
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment |= {
        "HOME": str(home),
        "TMPDIR": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "HF_HOME": str(home / "cache"),
        "TORCH_HOME": str(home / "cache"),
        # The user's own site-packages are found through the home folder, which has just been moved.
        "PYTHONUSERBASE": site.getuserbase(),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "1",
        "PYTHONWARNINGS": "ignore",
        # Must be set before torch is imported: compiling takes 18 s and a C++ compiler, and changes no
        # number.
        "TORCHDYNAMO_DISABLE": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    if order.compiled:
        del environment["TORCHDYNAMO_DISABLE"]
        # Otherwise it starts a process for each core.
        environment["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    if order.ranks > 1:
        # torchrun starts its processes without -P.
        environment["PYTHONSAFEPATH"] = "1"
    if not order.on_card:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    if sys.platform == "linux":
        # gloo otherwise looks up this machine's name, which may not resolve.
        environment["GLOO_SOCKET_IFNAME"] = "lo"
    own = Path(__file__).resolve().parents[2]
    if own not in {Path(sysconfig.get_path(key)).resolve() for key in ("purelib", "platlib")}:
        environment["PYTHONPATH"] = str(own)
    return environment
