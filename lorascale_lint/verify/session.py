"""The children of one run: start them, follow their events, end them.

Each child has a room of its own (`isolation`), so that nothing of it survives.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from lorascale_lint.verify.environment import environment_of
from lorascale_lint.verify.events import Events, ending_of
from lorascale_lint.verify.harness.report import shown_rows
from lorascale_lint.verify.interpreters import elsewhere
from lorascale_lint.verify.isolation.promises import Containment
from lorascale_lint.verify.isolation.room import DEFAULT_SIZE, Guest, Room
from lorascale_lint.verify.order import Order
from lorascale_lint.verify.packages import missing_of, packages_problem
from lorascale_lint.verify.processes import available_memory, can_watch
from lorascale_lint.verify.registry import DriverEntry, Requirement
from lorascale_lint.verify.report import Problem, Target, VerifyReport
from lorascale_lint.verify.told import Told
from lorascale_lint.verify.verdicts import Verdict

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

_POLL = 0.05
# Seconds between looks at the memory, each of which takes a few milliseconds.
_WATCH = 0.2
# Of the memory that is available: the rest is for what the machine does beside.
_MEMORY_SHARE = 0.75
# Bytes of a child's output that are looked at for its last words.
_TAIL = 20_000
_DESCRIPTIONS = "harness.json"

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a child may take: seconds until it is imported and for a scenario, bytes (None: any)."""

    importing: float
    scenario: float
    memory: int | None

    @property
    def size(self) -> int:
        """Bytes of files, which are held in memory where there are namespaces."""
        return min(DEFAULT_SIZE, self.memory or DEFAULT_SIZE)

    @classmethod
    def of(cls, timeout: float | None, memory: int | None, *, slow: bool) -> Limits:
        """Those that a person gave, or what is usual; `slow`: where code is compiled."""
        scenario = (COMPILED_TIMEOUT if slow else SCENARIO_TIMEOUT) if timeout is None else timeout
        if memory is None and can_watch() and (available := available_memory()):
            memory = int(available * _MEMORY_SHARE)
        return cls(max(IMPORT_TIMEOUT, timeout or 0.0), scenario, memory)


class Session:
    """All children of one run; `blank` is their order without what is each child's own."""

    def __init__(
        self,
        entry: DriverEntry,
        blank: Order,
        containment: Containment,
        limits: Limits,
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
        """The rows of all scenarios, or why there are none."""
        failures: list[str] = []
        for mode in self.entry.import_modes:
            self.say(f"importing {self.blank.package} ({mode})")
            state = Told(target, ranks=self.blank.ranks)
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

    def _import_problem(self, state: Told, failures: list[str]) -> Problem:
        """Exit 3 if a package is missing, 2 if the target itself cannot be imported."""
        top = (state.missing or "").partition(".")[0]
        own = not top or top == Path(self.blank.package).name
        if not own and importlib.util.find_spec(top) is None:
            return packages_problem([Requirement(top, top), *missing_of(self.entry.full_requirements)])
        return Problem(2, "The target cannot be imported. " + " ".join(f"{failure}." for failure in failures))

    def _finish(self, state: Told, mode: str, ending: str, notes: tuple[str, ...]) -> VerifyReport:
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

    def _bury(self, state: Told, ending: str) -> None:
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

    def _child(self, state: Told, mode: str) -> str:
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
        environment = environment_of(room.home, self.blank)
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

    def _follow(self, guest: Guest, state: Told) -> str:
        watched = time.monotonic()
        already_begun = len(state.begun)
        deadline = time.monotonic() + self.limits.importing
        events = Events(guest.results)
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
                return ending_of(status, guest.output(_TAIL))
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
                return events.overflow
            time.sleep(_POLL)
